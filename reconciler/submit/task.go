package submit

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// placeholder is what is replaced in arguments.
var placeholder = regexp.MustCompile(`\$\{([a-zA-Z0-9_.-]+)\}`)

// render is the file that job.sh reads for a task: which exit statuses are tried again, and a function that becomes the program.
// Everything that a site says stands in single quotes.
func (w Work) render(n int, key string) (string, error) {
	t := w.Tasks[n-1]
	var argv []string
	for _, word := range w.Job.Argv {
		quoted, err := w.word(word, t)
		if err != nil {
			return "", fmt.Errorf("%s: %w", word, err)
		}
		argv = append(argv, quoted)
	}
	if len(argv) == 0 || strings.Contains(argv[0], "=") {
		return "", fmt.Errorf("%s cannot be run: the name of a program has no =", strings.Join(argv, " "))
	}
	own := map[string]string{}
	maps.Copy(own, w.Environment)
	maps.Copy(own, w.Job.Environment)
	maps.Copy(own, w.variables(t, key, n))
	var b strings.Builder
	retries, on := retry(w.Job.Retry)
	fmt.Fprintf(&b, "retries=%d retry_on='%s'\nrun_task() {\n\texec env -i", retries, on)
	b.WriteString(` "PATH=$path" "HOME=$home" "LANG=$lang" "TMPDIR=$tmp" "USER=$user"`)
	b.WriteString(` ${CUDA_VISIBLE_DEVICES+"CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES"} ${ROCR_VISIBLE_DEVICES+"ROCR_VISIBLE_DEVICES=$ROCR_VISIBLE_DEVICES"}`)
	b.WriteString(` "POMONA_JOB=$job" "POMONA_INPUTS=$inputs" "POMONA_OUTPUTS=$outputs"`)
	if w.reports() {
		fmt.Fprintf(&b, ` "POMONA_TOKEN_FILE=$folder/%s/%d"`, tokenDir, n)
	}
	for _, name := range slices.Sorted(maps.Keys(own)) {
		b.WriteString(" \\\n\t\t" + quote(name+"="+own[name]))
	}
	b.WriteString(" \\\n\t\t" + strings.Join(argv, " ") + "\n}\n")
	if strings.Contains(b.String(), "\x00") {
		return "", fmt.Errorf("task %d holds a zero byte", n)
	}
	return b.String(), nil
}

// reports says whether its jobs report.
func (w Work) reports() bool { return w.URL != "" && w.Token != nil }

// retry is how often job.sh tries again, and after which exit statuses; with more memory, that is a new attempt.
func retry(r desired.Retry) (most int, on string) {
	if r.MemoryFactor > 1 {
		return 0, ""
	}
	return r.Max, strings.Trim(fmt.Sprint(r.OnExit), "[]")
}

// variables are those of Pomona.
func (w Work) variables(t Task, key string, n int) map[string]string {
	out := map[string]string{
		"POMONA_KEY": key, "POMONA_CAMPAIGN": w.Campaign, "POMONA_STAGE": w.Stage, "POMONA_SLICE": t.Slice.ID,
		"POMONA_ATTEMPT": fmt.Sprint(t.Attempt), "POMONA_TASK": fmt.Sprint(n),
	}
	for name, v := range t.Params {
		out["POMONA_PARAM_"+name] = v
	}
	for name, v := range w.Software {
		out["POMONA_SOFTWARE_"+strings.ReplaceAll(name, "-", "_")] = v
	}
	if w.reports() {
		out["POMONA_URL"] = w.URL
	}
	return out
}

// word is an argument for the shell, its placeholders replaced.
func (w Work) word(word string, t Task) (out string, err error) {
	last := 0
	for _, at := range placeholder.FindAllStringSubmatchIndex(word, -1) {
		v, e := w.value(word[at[2]:at[3]], t)
		if e != nil {
			err = e
		}
		out += quoteSome(word[last:at[0]]) + v
		last = at[1]
	}
	out += quoteSome(word[last:])
	if out == "" {
		out = "''"
	}
	return out, err
}

// value is that of a placeholder, for the shell.
func (w Work) value(name string, t Task) (string, error) {
	kind, of, _ := strings.Cut(name, ".")
	switch name {
	case "slice":
		return quote(t.Slice.ID), nil
	case "campaign":
		return quote(w.Campaign), nil
	case "stage":
		return quote(w.Stage), nil
	case "attempt":
		return quote(fmt.Sprint(t.Attempt)), nil
	case "inputs", "outputs":
		return `"$` + name + `"`, nil
	}
	values := map[string]map[string]string{"params": t.Params, "software": w.Software}[kind]
	if v, ok := values[of]; ok {
		return quote(v), nil
	}
	return "", fmt.Errorf("nothing is known of ${%s}", name)
}

func quoteSome(s string) string {
	if s == "" {
		return ""
	}
	return quote(s)
}

// quote makes a word of the shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
