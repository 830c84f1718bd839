package tree

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// pages are what people read: a page for each prerequisite, and a list of them.
func (t table) pages() []Node {
	var b strings.Builder
	b.WriteString("# Prerequisites\n\n" + t.markdownOrigin() + "\n| prerequisite | for | recommended | what it is |\n|---|---|---|---|\n")
	var nodes []Node
	for _, name := range t.order {
		nodes = append(nodes, t.page(name))
		p := t.site.Prerequisites[name]
		fmt.Fprintf(&b, "| [%s](%s.md) | %s | %s | %s |\n", markdown(name), name, p.ThePurpose(), markdown(p.Recommended), markdown(p.Description))
	}
	for _, system := range t.systems() {
		s := t.site.Settings.Systems[system]
		fmt.Fprintf(&b, "\n## %s\n\n", markdown(system))
		if s.Description != "" {
			b.WriteString(markdown(s.Description) + "\n\n")
		}
		fmt.Fprintf(&b, "All of %s (%s), from the folder in which this one lies:\n\n    sh %s/%s\n    sh %s/%s\n", markdown(system), markdown(s.Family+" "+s.Release), system, InstallScript, system, VerifyScript)
		if s.Family == desired.MacOS {
			b.WriteString("\nNobody has tested that: there is no clean machine of macos to test it on.\n")
		}
	}
	return append(nodes, Node{Path: "docs/README.md", Data: []byte(b.String())})
}

func (t table) markdownOrigin() string {
	return strings.TrimSuffix(t.generated("<!--", "Pages"), "\n") + " -->\n"
}

func pagePath(name string) string { return "docs/" + name + ".md" }

// installLine is how people install a version.
func installLine(system string, r row) string {
	return fmt.Sprintf("    sh %s/%s %s\n", system, InstallScript, r.want())
}

// page is what people read of one prerequisite. It shows the same script that is tested, and no other way.
func (t table) page(name string) Node {
	p := t.site.Prerequisites[name]
	var b strings.Builder
	b.WriteString(t.markdownOrigin())
	if stamp := t.stamp("<!--", name); stamp != "" {
		b.WriteString(stamp + "-->\n")
	}
	fmt.Fprintf(&b, "\n# %s\n\n%s\n\nNeeded for %s. %s answers for it.\n", markdown(name), markdown(p.Description), p.ThePurpose(), markdown(p.Responsible))
	if len(p.Needs) > 0 {
		b.WriteString("\nIt needs, and brings with it:\n\n")
		for _, need := range slices.Sorted(slices.Values(p.Needs)) {
			fmt.Fprintf(&b, "- [%s](%s.md)\n", markdown(need), need)
		}
	}
	fmt.Fprintf(&b, "\nRecommended is version %s; supported are %s.\n", markdown(p.Recommended), markdown(strings.Join(p.Supported, ", ")))
	for _, system := range slices.Sorted(maps.Keys(p.Systems)) {
		fmt.Fprintf(&b, "\n## %s\n\n| version | from | package |\n|---|---|---|\n", markdown(system))
		versions := p.Versions(system)
		for _, v := range versions {
			source, provider, _ := p.Source(system, v)
			fmt.Fprintf(&b, "| %s | %s | %s |\n", markdown(v), provider, markdown(PackageOf(source, provider)))
		}
		if e := p.Systems[system].Exception; e != nil {
			fmt.Fprintf(&b, "\nWhy not from elsewhere: %s (%s)\n", markdown(strings.Join(strings.Fields(e.Reason), " ")), markdown(e.By))
		}
		b.WriteString("\n")
		for _, v := range versions {
			b.WriteString(installLine(system, row{name: name, version: v}))
		}
	}
	b.WriteString("\n## Is it there?\n\n")
	for _, probe := range p.Verify {
		line := probe.Shell
		if line == "" {
			line = shWords(slices.Clone(probe.Run)...)
		}
		fmt.Fprintf(&b, "    %s\n", line)
		if probe.Expect != "" {
			fmt.Fprintf(&b, "\nprints %s\n\n", markdown(probe.Expect))
		}
	}
	return Node{Path: pagePath(name), Data: []byte(strings.TrimRight(b.String(), "\n") + "\n")}
}

// PackageOf names a package as people do.
func PackageOf(s desired.Source, provider string) string {
	switch provider {
	case desired.FromDistro:
		return s.Distro.Package + " " + s.Distro.Candidate
	case desired.FromLanguage:
		return s.Language.Package + " " + s.Language.Version
	case desired.FromVendor:
		return s.VendorRepo.Package + " from " + s.VendorRepo.URL
	case desired.FromArtifact:
		return s.Artifact.Dest + " from " + s.Artifact.URL
	}
	return ""
}

// markdown is text that says in Markdown what it says.
func markdown(s string) string {
	var b strings.Builder
	for _, c := range s {
		switch {
		case c == '&':
			b.WriteString("&amp;")
		case c == '<':
			b.WriteString("&lt;")
		case strings.ContainsRune("\\`*_{}[]()#+!|~$>", c):
			b.WriteString("\\" + string(c))
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}
