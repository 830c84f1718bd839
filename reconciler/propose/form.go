package propose

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Feedback is what a user has written into a form.
type Feedback struct {
	By     string // empty: nobody
	Site   string
	Rating int // 0: none
	Text   string
}

// The questions of a form, each with what helps to answer it. Answers to the last ones become the text.
var formQuestions = []struct{ title, help string }{
	{"Who are you?", "your e-mail address"},
	{"Site", "where you used it, if that is a site; may stay empty"},
	{"Rating", "from 1, not usable, to 5, better than what was before; may stay empty"},
	{"What did you do with it?", ""},
	{"What was better than before?", ""},
	{"What was worse, or went wrong?", "a problem that somebody should solve: pomona pilot %[1]s problem"},
	{"Should it become what everybody gets?", "yes or no, and why"},
}

const formHead = "# Feedback on pilot %s"

// Form is an empty form in Markdown, for a user of a pilot. Lines that begin with > help, and are no part of an answer.
func Form(pilot string) string {
	var b strings.Builder
	fmt.Fprintf(&b, formHead+"\n\n> Write below the questions; lines like this one do not count. Then: pomona pilot %s feedback --from FILE\n", pilot, pilot)
	for _, q := range formQuestions {
		fmt.Fprintf(&b, "\n## %s\n", q.title)
		if q.help != "" {
			help := strings.ReplaceAll(q.help, "%[1]s", pilot)
			fmt.Fprintf(&b, "\n> %s\n", help)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// ReadForm reads a form about a pilot that somebody has filled in.
func ReadForm(pilot, text string) (f Feedback, err error) {
	head, answers := "", map[string]string{}
	title := ""
	for line := range strings.Lines(strings.ReplaceAll(text, "\r\n", "\n")) {
		line = strings.TrimRight(line, "\n")
		switch question, isQuestion := strings.CutPrefix(line, "## "); {
		case strings.HasPrefix(line, ">"):
		case head == "" && strings.HasPrefix(line, "# "):
			head = strings.TrimSpace(line)
		case isQuestion && known(strings.TrimSpace(question)):
			title = strings.TrimSpace(question)
		case title != "":
			answers[title] += line + "\n"
		}
	}
	if head != fmt.Sprintf(formHead, pilot) {
		return f, fmt.Errorf("this is no form about pilot %[1]s: pomona pilot %[1]s feedback --form prints one", pilot)
	}
	for title, answer := range answers {
		answers[title] = strings.TrimSpace(answer)
	}
	f.By, f.Site = answers[formQuestions[0].title], answers[formQuestions[1].title]
	if rating := answers[formQuestions[2].title]; rating != "" {
		if f.Rating, err = strconv.Atoi(rating); err != nil || f.Rating < 1 || f.Rating > 5 {
			return f, fmt.Errorf("malformed rating %.20q: want a number from 1 to 5, or nothing", rating)
		}
	}
	var b strings.Builder
	for _, q := range formQuestions[3:] {
		if answer := answers[q.title]; answer != "" {
			fmt.Fprintf(&b, "%s\n%s\n\n", q.title, answer)
		}
	}
	if f.Text = strings.TrimSpace(b.String()); f.Text == "" {
		err = errors.New("nothing is answered in this form")
	}
	return f, err
}

func known(title string) bool {
	for _, q := range formQuestions {
		if q.title == title {
			return true
		}
	}
	return false
}
