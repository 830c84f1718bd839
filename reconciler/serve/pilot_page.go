package serve

import _ "embed"

// pilotPages are the pages about pilots. Whatever they show is escaped: names and texts of a site are others'.
//
//go:embed pilot.tmpl
var pilotPages string
