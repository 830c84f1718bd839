package desired

import "fmt"

// batch checks the engines of a site, what datasets may read, and the services that campaigns need.
func (c *serviceChecker) batch(site ServedSite, at func(...any) string) {
	folders := map[string]string{}
	for _, name := range sortedKeys(site.Engines) {
		e := site.Engines[name]
		c.engine(e, at("engines", name), site.Root)
		if e.Folder == "" {
			continue
		}
		if other := folders[e.Folder]; other != "" {
			c.problem(at("engines", name, "folder"), fmt.Sprintf("engine %s has it too", other), "give each engine a folder of its own")
		}
		folders[e.Folder] = name
	}
	for _, name := range sortedKeys(site.Services) {
		if s := site.Services[name]; (s.URL == "") == (len(s.Command) == 0) {
			c.problem(at("services", name), "it is asked in one way", "give url or command")
		}
	}
	if s := site.Submissions; s != nil {
		c.listener(at("submissions", "listen"), s.Listen)
		c.outside(at("submissions", "tokens"), s.Tokens, site.Root)
	}
}

// engine checks that one has what its kind needs, and nothing of another kind.
func (c *serviceChecker) engine(e Engine, at, root string) {
	own := func(field, kind string, given bool) {
		if given && e.Kind != kind {
			c.problem(at+"."+field, fmt.Sprintf("an engine of kind %s has none", e.Kind), "remove it, or say kind: \""+kind+"\"")
		}
	}
	own("slurm", "slurm", e.Slurm != Slurm{})
	own("htcondor", "htcondor", e.HTCondor != HTCondor{})
	own("command", "command", len(e.Command) > 0)
	own("slots", "local", e.Slots != 0)
	own("user", "local", e.User != "")
	switch {
	case e.Kind == "htcondor" && e.HTCondor.Schedd == "":
		c.problem(at+".htcondor", "which schedd has the jobs is missing", `say it, for instance htcondor: schedd: "schedd1.example.org"`)
	case e.HTCondor.Client == "jobsub" && e.HTCondor.Group == "":
		c.problem(at+".htcondor", "jobsub wants to know the group", `say it, for instance htcondor: group: "minerva"`)
	case e.Kind == "command" && len(e.Command) == 0:
		c.problem(at+".command", "the program that speaks for the engine is missing", `give it, for instance command: ["/usr/local/bin/our-batch"]`)
	}
	if e.Programs != "" && (e.Kind == "local" || e.Kind == "command") {
		c.problem(at+".programs", fmt.Sprintf("an engine of kind %s needs none", e.Kind), "remove it")
	}
	switch {
	case e.Folder == "" && e.Kind != "local":
		c.problem(at+".folder", "the folder is missing where jobs find what they run", "give one that this service and the jobs' machines see under the same path")
	case e.Folder != "":
		c.outside(at+".folder", e.Folder, root)
	}
	if k := e.Credential; k != nil {
		c.outside(at+".credential.file", k.File, root)
	}
}
