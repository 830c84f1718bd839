package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// StageCut is what a stage's slices are cut of. There is no cursor: what slices there are decides, with the inputs, which are new. So a
// plan that was lost before it was recorded comes out the same again.
type StageCut struct {
	Now   time.Time
	UID   string
	Name  string // of the stage
	Stage desired.Stage
	Cycle string
	// Sample has the split for tests; Test names a test launch, letters, digits and dashes, whose slices count for nothing.
	Sample bool
	Test   string
	// Parent is the slice whose outputs the inputs are; nil where they are of a dataset, or of many slices.
	Parent *observed.Slice
	// Edges are of the slices whose outputs the inputs are together.
	Edges  []Edge
	Inputs []observed.Input
	Bare   bool // there can be no inputs: what the stage needs leaves no files
	// Assigned says that a slice of the stage and epoch has an input, Known that there is one with an id.
	Assigned func(input string) bool
	Known    func(id string) bool
	Final    bool // nothing is to come after these inputs in this cycle: no rest waits for more
	Idle     bool // no slice of the stage is under way: what there is need not wait for more
	// Take, if it is not nil, gets slices while others are being cut, so that there are never many: they are not among those that are
	// returned. After an error nothing more is cut.
	Take func([]observed.Slice) error
}

// takenAtOnce is how many slices are taken together.
const takenAtOnce = 5000

// Cuts is what a stage's input was cut into.
type Cuts struct {
	Slices []observed.Slice // new ones, without what is only known later
	Rest   []string         // inputs that wait for more, by name; none of a final cut
	Why    string           // there are inputs without a slice, or there is nothing new at all; a sentence
	Turn   time.Time        // when the clock alone makes another slice; zero: it does not
	Taken  int              // slices that were taken while others were cut
	Err    error            // why they were not
}

// Cut are the slices that a stage needs besides those that it has. No input gets into two, unless the split gives all slices the same.
func Cut(c StageCut) Cuts {
	k := cutting{StageCut: c, split: c.Stage.TheSplit(c.Sample || c.Test != "")}
	if k.Assigned == nil || c.Test != "" {
		k.Assigned = func(string) bool { return false }
	}
	if k.Known == nil {
		k.Known = func(string) bool { return false }
	}
	k.inputs = byName(c.Inputs)
	k.cut()
	if k.out.Taken+len(k.out.Slices) == 0 && len(k.out.Rest) == 0 && k.out.Why == "" {
		k.out.Why = k.nothing()
	}
	return k.out
}

// byName are inputs by name, none twice: the same ones if they are so already, as those of datasets are.
func byName(all []observed.Input) []observed.Input {
	for i := 1; i < len(all); i++ {
		if all[i-1].Name >= all[i].Name {
			all = slices.Clone(all)
			slices.SortStableFunc(all, func(a, b observed.Input) int { return strings.Compare(a.Name, b.Name) })
			return slices.CompactFunc(all, func(a, b observed.Input) bool { return a.Name == b.Name })
		}
	}
	return all
}

type cutting struct {
	StageCut
	split  desired.Split
	inputs []observed.Input // by name, none twice
	out    Cuts
}

func (k *cutting) cut() {
	switch k.split.Type {
	case desired.NoSplit:
		k.none()
	case desired.SampleSplit:
		k.sample()
	case desired.ListSplit:
		k.list()
	case desired.MatrixSplit:
		k.matrix()
	case desired.ModuloSplit:
		k.modulo()
	case desired.FilesSplit:
		k.chunks(k.fresh(), true)
	case desired.DrainSplit, desired.StagedSplit, desired.ResplitSplit, desired.MergeSplit:
		k.chunks(k.fresh(), k.Final || k.Idle && k.split.Type != desired.MergeSplit)
	case desired.RunsSplit, desired.ExistingRunsSplit:
		k.runs()
	case desired.WindowSplit:
		k.windows()
	case desired.TagsSplit:
		k.tags()
	case desired.ExternalSplit:
		k.out.Why = "its slices are made by whoever uses the submission API"
	}
}

// nothing says why there is no new slice and no rest.
func (k *cutting) nothing() string {
	if len(k.inputs) == 0 && !k.bare() {
		return "its input is empty"
	}
	return "every input has its slice"
}

// fresh are the inputs that no slice has. Nobody may change them.
func (k *cutting) fresh() []observed.Input { return k.freshOf(k.inputs) }

func (k *cutting) freshOf(inputs []observed.Input) []observed.Input {
	if !slices.ContainsFunc(inputs, func(i observed.Input) bool { return k.Assigned(i.Name) }) {
		return inputs
	}
	return slices.DeleteFunc(slices.Clone(inputs), func(i observed.Input) bool { return k.Assigned(i.Name) })
}

// whole adds a slice, known by its id, with the inputs given. Without any input there is none, unless the stage works without. If it is
// there, what the slices before it have left since, when they were tried again, is another.
func (k *cutting) whole(base string, inputs []observed.Input, params map[string]string) {
	switch fresh := k.freshOf(inputs); {
	case k.Known(k.id(base)) && k.follows() && len(fresh) > 0:
		k.part(base, fresh, params)
	case len(inputs) > 0 || k.bare():
		k.add(k.id(base), base, inputs, params)
	}
}

// follows says whether the inputs are what slices have left.
func (k *cutting) follows() bool {
	return (k.Parent != nil || SourceOf(k.Stage) == FromOutputs) && k.Test == ""
}

// none is one slice of all inputs; of outputs of many slices, another if more come.
func (k *cutting) none() {
	fresh := k.fresh()
	switch {
	case SourceOf(k.Stage) != FromOutputs || k.Parent != nil || k.Bare || k.Test != "":
		k.whole("all", k.inputs, nil)
	case len(fresh) > 0:
		k.part("all", fresh, nil)
	}
}

// bare says whether slices have no inputs because the stage has none at all.
func (k *cutting) bare() bool { return k.Bare || SourceOf(k.Stage) == FromNothing && k.Parent == nil }

// part adds a slice of inputs that none has, if it can. If its first name is taken, it is named by its inputs besides.
func (k *cutting) part(base string, inputs []observed.Input, params map[string]string) (added bool) {
	id := k.id(base)
	if k.Known(id) {
		id = k.id(base + ".f-" + hashOf(inputs))
	}
	return k.add(id, base, inputs, params)
}

// add adds a slice. One that is there already, cancelled perhaps, stays as it is.
func (k *cutting) add(id, label string, inputs []observed.Input, params map[string]string) (added bool) {
	if k.Known(id) || !k.room() {
		return false
	}
	all := params
	if k.Parent != nil {
		all = maps.Clone(k.Parent.Params)
		label = joinLabel(k.Parent.Label, label)
		if all == nil {
			all = map[string]string{}
		}
		maps.Copy(all, params)
	}
	names := namesOf(inputs)
	s := observed.Slice{
		UID: k.UID, Stage: k.Name, Epoch: k.Stage.TheEpoch(), ID: id, Label: label, Digest: InputsDigest(names, all), Count: len(names), Inputs: names,
		Cycle: k.Cycle, Test: k.Test != "", State: FirstState(k.Stage), At: k.Now, Began: k.Now,
	}
	if len(all) > 0 {
		s.Params = all
	}
	k.out.Slices = append(k.out.Slices, s)
	return true
}

// room has slices taken that are many, and says whether there can be more.
func (k *cutting) room() bool {
	if k.Take == nil || len(k.out.Slices) < takenAtOnce || k.out.Err != nil {
		return k.out.Err == nil
	}
	if k.out.Err = k.Take(k.out.Slices); k.out.Err == nil {
		k.out.Taken, k.out.Slices = k.out.Taken+len(k.out.Slices), k.out.Slices[:0]
	}
	return k.out.Err == nil
}

// FirstState is the state that a slice of a stage begins in.
func FirstState(s desired.Stage) observed.SliceState {
	switch s.TheType() {
	case desired.ApprovalStage:
		return observed.SliceAwaiting
	case desired.TransferStage:
		return observed.SliceVerifying
	}
	return observed.SlicePlanned
}

func joinLabel(parent, own string) string {
	switch {
	case own == "all" || own == "":
		return parent
	case parent == "" || parent == "all":
		return own
	}
	return parent + ", " + own
}

// sample is the first few inputs as one slice, or the first few slices of a stage that has no inputs.
func (k *cutting) sample() {
	if !k.bare() {
		if !k.Known(k.id("sample")) {
			k.whole("sample", k.inputs[:min(k.split.N, len(k.inputs))], nil)
		}
		return
	}
	n := k.split.N
	if k.split = k.Stage.TheSplit(false); k.split.Type == desired.SampleSplit {
		k.split.Type = desired.NoSplit
	}
	k.cut()
	k.out.Slices = k.out.Slices[:min(n, len(k.out.Slices))]
}

func (k *cutting) list() {
	for _, item := range k.split.Items {
		k.add(k.id(word(item)), item, []observed.Input{{Name: item}}, map[string]string{"item": item})
	}
}

// matrix is a slice for each combination of the parameters, all with the same inputs.
func (k *cutting) matrix() {
	names := sortedKeys(k.split.Params)
	var combine func(i int, params map[string]string, said []string)
	combine = func(i int, params map[string]string, said []string) {
		if i == len(names) {
			if len(k.inputs) > 0 || k.bare() {
				k.whole(word(strings.Join(said, "-")), k.inputs, maps.Clone(params))
			}
			return
		}
		for _, value := range k.split.Params[names[i]] {
			params[names[i]] = value.String()
			combine(i+1, params, append(slices.Clone(said), value.String()))
		}
	}
	combine(0, map[string]string{}, nil)
}

func (k *cutting) modulo() {
	all := k.inputs
	name := func(i int) string { return fmt.Sprintf("part-%0*d", len(fmt.Sprint(k.split.N-1)), i) }
	if k.follows() && k.Known(k.id(name(0))) { // then the others are there too, as far as there was something for them
		all = k.fresh()
	}
	for i := range k.split.N {
		var inputs []observed.Input
		for j := i; j < len(all); j += k.split.N {
			inputs = append(inputs, all[j])
		}
		k.whole(name(i), inputs, map[string]string{"part": fmt.Sprint(i)})
	}
}

// chunks cuts inputs in their order into slices of n inputs, or of as many bytes. Last has what is left over be one too.
func (k *cutting) chunks(inputs []observed.Input, last bool) {
	begin, bytes := 0, int64(0)
	size, _ := desired.ParseSize(k.split.Size) // 0 for none
	n := max(k.split.N, 1)
	if k.split.N > 0 {
		most := len(inputs)/n + 1
		if k.Take != nil {
			most = min(most, takenAtOnce)
		}
		k.out.Slices = slices.Grow(k.out.Slices, most)
	}
	for i, input := range inputs {
		bytes += input.Size
		if full := k.split.N > 0 && i-begin+1 >= n || size > 0 && bytes >= size; full {
			k.chunk(inputs[begin : i+1])
			begin, bytes = i+1, 0
		}
	}
	rest := inputs[begin:]
	if last && len(rest) > 0 {
		k.chunk(rest)
		return
	}
	k.left(rest, fmt.Sprintf("%s for more: a slice is %s", counted(len(rest), "input waits", "inputs wait"), k.chunkText()))
}

func (k *cutting) chunk(inputs []observed.Input) {
	id := "f-" + hashOf(inputs)
	k.add(k.id(id), labelOf(inputs), inputs, nil)
}

func (k *cutting) chunkText() string {
	var said []string
	if k.split.N > 0 {
		said = append(said, counted(k.split.N, "input", "inputs"))
	}
	if k.split.Size != "" {
		said = append(said, k.split.Size)
	}
	return strings.Join(said, " or ")
}

// left is about inputs that no slice takes: while more may come, they wait; those of a dataset that grows, until the next start; else they
// are a slice that people decide about, so that none is lost without a word.
func (k *cutting) left(inputs []observed.Input, why string) {
	switch {
	case len(inputs) == 0 || k.Test != "":
		return
	case !k.Final:
		k.out.Rest = append(k.out.Rest, namesOf(inputs)...)
	case !k.grows():
		if !k.part("stray", inputs, nil) {
			return
		}
		stray := &k.out.Slices[len(k.out.Slices)-1]
		stray.State, stray.Detail = observed.SliceLate, why+": accept or cancel the slice to leave them, or retry it to have a job for them all"
		return
	}
	k.out.Why = cmp.Or(k.out.Why, why)
}

// grows says whether the inputs are of a dataset that may have more later.
func (k *cutting) grows() bool {
	return SourceOf(k.Stage) == FromDataset && k.Stage.Input.Live && k.Parent == nil
}

// runs is a slice for each run number.
func (k *cutting) runs() {
	only := k.split.Type == desired.RunsSplit
	if only && k.bare() {
		for run := k.split.Low; run <= k.split.High; run++ {
			k.whole(fmt.Sprintf("run-%d", run), nil, map[string]string{"run": fmt.Sprint(run)})
		}
		return
	}
	by := map[int64][]observed.Input{}
	var without []observed.Input
	for _, input := range k.fresh() {
		switch {
		case input.Run == 0:
			without = append(without, input)
		case !only || int64(k.split.Low) <= input.Run && input.Run <= int64(k.split.High):
			by[input.Run] = append(by[input.Run], input)
		}
	}
	for _, run := range slices.Sorted(maps.Keys(by)) {
		k.part(fmt.Sprintf("run-%d", run), by[run], map[string]string{"run": fmt.Sprint(run)})
	}
	k.left(without, counted(len(without), "input has", "inputs have")+" no run number")
}

// tags is a slice for each tag, of the inputs whose first tag it is.
func (k *cutting) tags() {
	by := map[string][]observed.Input{}
	for _, input := range k.fresh() {
		by[tagOf(k.split, input.Name)] = append(by[tagOf(k.split, input.Name)], input)
	}
	for _, tag := range sortedKeys(by) {
		if tag != "" {
			k.part(word(tag), by[tag], map[string]string{"tag": tag})
		}
	}
	k.left(by[""], counted(len(by[""]), "input matches", "inputs match")+" no tag")
}

// tagOf is the first tag in the order of their names whose pattern a name has; else that for the rest, or none.
func tagOf(split desired.Split, name string) string {
	for _, tag := range sortedKeys(split.Tags) {
		if desired.Matches(split.Tags[tag], name) {
			return tag
		}
	}
	return split.CatchAll
}

// id is a slice's id: what its cycle and its parent are called, and what it is called among its like.
func (k *cutting) id(base string) string {
	var parts []string
	if k.Test != "" {
		parts = append(parts, "test-"+k.Test)
	}
	if c := cycleID(k.Cycle); c != "" {
		parts = append(parts, c)
	}
	if k.Parent != nil {
		if len(k.Stage.Needs) > 1 {
			parts = append(parts, k.Parent.Stage)
		}
		if k.Parent.Epoch > 1 { // else what follows it is there already
			parts = append(parts, fmt.Sprintf("epoch-%d", k.Parent.Epoch))
		}
		if rest := k.Parent.ID; rest != cycleID(k.Parent.Cycle) {
			rest = strings.TrimPrefix(rest, cycleID(k.Parent.Cycle)+".")
			if rest != "all" {
				parts = append(parts, rest)
			}
		}
	}
	parts = append(parts, k.epochs()...)
	if base != "all" || len(parts) == 0 {
		parts = append(parts, base)
	}
	return bounded(strings.Join(parts, "."))
}

// epochs tells slices of many others' outputs from those that were cut when these were in the epoch before, or what they come from was.
func (k *cutting) epochs() (parts []string) {
	of := map[string][]int{}
	for _, e := range k.Edges {
		if epochs := lineage(e); slices.Compare(epochs, of[e.Stage]) > 0 {
			of[e.Stage] = epochs
		}
	}
	for _, stage := range sortedKeys(of) {
		if len(k.Stage.Needs) > 1 {
			parts = append(parts, stage)
		}
		for _, epoch := range of[stage] {
			parts = append(parts, fmt.Sprintf("epoch-%d", epoch))
		}
	}
	return parts
}

// lineage is the epochs that a slice comes of, but for first ones: that of its stage, and those that its id tells of.
func lineage(e Edge) (epochs []int) {
	if e.Epoch > 1 {
		epochs = append(epochs, e.Epoch)
	}
	for part := range strings.SplitSeq(e.Slice, ".") {
		if n, ok := strings.CutPrefix(part, "epoch-"); ok {
			if epoch, err := strconv.Atoi(n); err == nil {
				epochs = append(epochs, epoch)
			}
		}
	}
	return epochs
}

// mostID is how long ids may be.
const mostID = 63

// bounded is a name of at most so many characters; a longer one ends in its digest.
func bounded(s string) string {
	if len(s) <= mostID {
		return s
	}
	return strings.TrimRight(s[:mostID-13], ".-") + "-" + hash12(s)
}

// word is a text as part of an id. What had to be changed is told apart by its digest.
func word(s string) string {
	w := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(s))
	if w == s && w != "" && w != "all" && !strings.HasPrefix(w, "test-") && strings.Trim(w, ".-") == w {
		return w
	}
	return strings.Trim("w-"+strings.Trim(w, ".-"), "-") + "-" + hash12(s)
}

// hashOf names inputs.
func hashOf(inputs []observed.Input) string { return hash12(strings.Join(namesOf(inputs), "\n")) }

func hash12(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:6])
}

func namesOf(inputs []observed.Input) []string {
	names := make([]string, len(inputs))
	for i, input := range inputs {
		names[i] = input.Name
	}
	return names
}

// labelOf is what people see of a slice that has no name of its own.
func labelOf(inputs []observed.Input) string {
	first, last := inputs[0].Name, inputs[len(inputs)-1].Name
	if first == last {
		return clip(first)
	}
	return fmt.Sprintf("%s to %s", clip(first), clip(last))
}

// clip is the end of a long name.
func clip(name string) string {
	const most = 60
	if len(name) > most {
		return "…" + strings.ToValidUTF8(name[len(name)-most:], "")
	}
	return name
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
