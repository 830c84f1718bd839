package desired

import "cmp"

// IDOf is what marks the resources of a pilot of a name in the information system: PilotID=ID.
func (p Pilot) IDOf(name string) string {
	if p.InfoSys == nil {
		return name
	}
	return cmp.Or(p.InfoSys.ID, name)
}

// TheLevel is the quality level that resources of a pilot have.
func (i InfoSys) TheLevel() string { return cmp.Or(i.QualityLevel, "pre-production") }

// TheBase is where a directory is searched.
func (i InfoSys) TheBase() string { return cmp.Or(i.Base, "o=glue") }
