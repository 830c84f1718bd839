package submit

// Unfit is a task that cannot be handed in as its slice and its job are.
type Unfit struct {
	Task Task
	Why  error
}

// Fit is the work without the tasks whose program cannot be written down, for what their slices lack; and those.
func (w Work) Fit() (fit Work, unfit []Unfit) {
	fit, keys := w, w.keys()
	fit.Tasks = nil
	for i, t := range w.Tasks {
		if _, err := w.render(i+1, keys[i]); err != nil {
			unfit = append(unfit, Unfit{t, err})
			continue
		}
		fit.Tasks = append(fit.Tasks, t)
	}
	return fit, unfit
}
