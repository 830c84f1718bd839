package main

type pilotStartFlags struct{}

func pilotStartVerbs() []pilotVerb { return nil }
func pilotSiteVerbs() []pilotVerb  { return nil }
func pilotEndVerbs() []pilotVerb   { return nil }
