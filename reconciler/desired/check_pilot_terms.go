package desired

import "fmt"

// agreement checks that whoever agrees to what the pilot says of itself names whom that names, and its last day.
func (c recordChecker) agreement() {
	if c.Terms != c.Pilot.Terms() || c.Names(c.Pilot) {
		return
	}
	wrong := fmt.Sprintf("the owner and the coordinator are not %s", listedPeople(c.PilotRecord.Owner, c.Coordinator))
	if as := c.PilotRecord; as.Expires != c.Pilot.Expires {
		as.Expires = c.Pilot.Expires
		if as.Names(c.Pilot) {
			wrong = fmt.Sprintf("the last day is %s, and not %s", c.Pilot.Expires, c.PilotRecord.Expires)
		}
	}
	c.problem(c.of(), "this agrees to terms by which "+wrong, fmt.Sprintf("remove it: pomona pilot %s agree writes it as it is to be", c.name))
}

func listedPeople(owner, coordinator string) string {
	if coordinator == "" {
		return owner + " and nobody"
	}
	return owner + " and " + coordinator
}

// agreed warns that the terms are not those that anybody has agreed to.
func (k *pilotChecker) agreed() {
	terms, agreements := k.Terms(), 0
	for _, r := range k.Records {
		switch {
		case r.Kind != RecordAgreement:
		case r.Terms == terms:
			return
		default:
			agreements++
		}
	}
	if agreements > 0 && !k.ended {
		k.warning(k.at("scope"), "what this pilot says of itself is not what was agreed to: it goes no further",
			fmt.Sprintf("put it back as it was, or have its owner or coordinator agree: pomona pilot %s agree", k.name))
	}
}
