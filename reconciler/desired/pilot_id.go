package desired

import "cmp"

// IDOf is what marks the resources of a pilot of a name in the information system: PilotID=ID.
func (p Pilot) IDOf(name string) string {
	if p.InfoSys == nil {
		return name
	}
	return cmp.Or(p.InfoSys.ID, name)
}
