package tree

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// job is one build of a stage of a system's Containerfile. Each is a job of its own, so that its own end counts, and no colour of something
// around it.
type job struct{ system, stage, want, previous string }

// jobsOf are the jobs that test a system: all that it gets by itself, each other version, and upgrades.
func (t table) jobsOf(system string) (jobs []job) {
	stages := func(want string) {
		for _, stage := range []string{"install", "again", "verify"} {
			jobs = append(jobs, job{system, stage, want, ""})
		}
	}
	own, others := t.rows(system)
	stages("")
	for _, r := range others {
		stages(r.want())
	}
	for _, r := range own {
		if previous := t.site.Prerequisites[r.name].UpgradeFrom(system); previous != "" {
			jobs = append(jobs, job{system, "upgrade", r.want(), r.name + "=" + previous})
		}
	}
	return jobs
}

// name is what the job is called.
func (j job) name() string {
	return strings.Join(slices.DeleteFunc([]string{j.system, j.stage, strings.ReplaceAll(j.want, "=", "-")}, func(s string) bool { return s == "" }), "-")
}

// command builds the stage. All words are of names and versions: no shell or template expands any of them.
func (j job) command(builder string) string {
	c := builder + " --target " + j.stage
	if j.want != "" {
		c += " --build-arg WANT=" + j.want
	}
	if j.previous != "" {
		c += " --build-arg PREVIOUS=" + j.previous
	}
	return c + " --file " + PrerequisitesFolder + "/" + j.system + "/" + Containerfile + " " + PrerequisitesFolder
}

// renderCommand is how a job gets what is rendered of the commit that it tests.
const renderCommand = "pomona prerequisites render --to " + PrerequisitesFolder

// jobs are definitions of jobs for GitHub, GitLab and Jenkins Job Builder.
func (t table) jobs() []Node {
	var all []job
	for _, system := range t.systems() {
		if t.site.Settings.Systems[system].Family != desired.MacOS {
			all = append(all, t.jobsOf(system)...)
		}
	}
	return []Node{
		{Path: "ci/github-actions.yml", Data: t.gitHub(all)},
		{Path: "ci/gitlab-ci.yml", Data: t.gitLab(all)},
		{Path: "ci/jenkins-jobs.yml", Data: t.jenkins(all)},
	}
}

// header begins a file of jobs: what it is of, and the digests of that.
func (t table) header() string {
	h := "---\n" + t.generated("#", "Tests of prerequisites")
	for _, name := range t.order {
		h += t.stamp("#", name)
	}
	return h
}

func (t table) gitHub(jobs []job) []byte {
	var b strings.Builder
	b.WriteString(t.header() + `name: "prerequisites"
"on":
  pull_request:
permissions:
  contents: "read"
jobs:
`)
	for _, j := range jobs {
		fmt.Fprintf(&b, `  %s:
    name: %s
    runs-on: "ubuntu-latest"
    steps:
      - uses: "actions/checkout@v4"
      - uses: "actions/setup-go@v5"
        with:
          go-version: "stable"
      - run: "go install github.com/pomona-gitops/pomona/cmd/pomona@latest"
      - run: %s
      - run: %s
`, quoted(strings.Map(plain, j.name())), quoted(j.name()), quoted(renderCommand), quoted(j.command("docker build")))
	}
	return []byte(b.String())
}

// plain is what GitHub allows in the key of a job.
func plain(c rune) rune {
	if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
		return c
	}
	return '_'
}

func (t table) gitLab(jobs []job) []byte {
	var b strings.Builder
	b.WriteString(t.header() + `stages:
  - "render"
  - "test"
render:
  stage: "render"
  image: "golang:1.26"
  script:
    - "go install github.com/pomona-gitops/pomona/cmd/pomona@latest"
    - ` + quoted(renderCommand) + `
  artifacts:
    paths:
      - ` + quoted(PrerequisitesFolder) + "\n")
	for _, j := range jobs {
		fmt.Fprintf(&b, `%s:
  stage: "test"
  image: "quay.io/buildah/stable"
  allow_failure: false
  needs:
    - "render"
  script:
    - %s
`, quoted(j.name()), quoted(j.command("buildah bud --isolation chroot --storage-driver vfs")))
	}
	return []byte(b.String())
}

func (t table) jenkins(jobs []job) []byte {
	var b strings.Builder
	b.WriteString(t.header())
	for _, j := range jobs {
		fmt.Fprintf(&b, `- job:
    name: %s
    description: %s
    concurrent: false
    builders:
      - shell: %s
`, quoted("prerequisites-"+j.name()), quoted("Stage "+j.stage+" of the Containerfile of "+j.system+". What counts is its own end."),
			quoted("set -eu\n"+renderCommand+"\n"+j.command("buildah bud --isolation chroot --storage-driver vfs")+"\n"))
	}
	return []byte(b.String())
}
