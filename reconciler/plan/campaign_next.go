package plan

// NextRecovery is the recovery that would be tried next for what a slice lacks, counted from 1, and the inputs that it would select; 0 if
// there is none for which there is enough to do.
func NextRecovery(f SliceFacts) (number int, inputs []string) {
	j := sliceJudge{SliceFacts: f}
	for i := f.Slice.Round; i < len(f.Stage.Recoveries); i++ {
		r := f.Stage.Recoveries[i]
		if inputs = j.selected(r.Select); len(inputs) >= r.Least() || f.Slice.Count == 0 && r.Select != "added-inputs" {
			return i + 1, inputs
		}
	}
	return 0, nil
}
