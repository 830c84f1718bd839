package reconciler

// trouble is the failure that was told last, so that one that lasts is told once, and once more when it is over.
type trouble string

// news says whether an error is another one than the last, or its end.
func (t *trouble) news(err error) bool {
	was, now := *t, trouble("")
	if err != nil {
		now = trouble(err.Error())
	}
	*t = now
	return was != now
}
