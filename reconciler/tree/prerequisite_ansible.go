package tree

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// Everything that comes from a site is a quoted string in YAML: 3.10 is no number, and neither is a digest of digits alone.

// ansible are a role for each prerequisite, a playbook for each system, one of all, and the inventory of FECs.
func (t table) ansible() (nodes []Node) {
	for _, name := range t.order {
		nodes = append(nodes, t.role(name)...)
	}
	site := "---\n" + t.generated("#", "All prerequisites")
	for _, system := range t.systems() {
		nodes = append(nodes, Node{Path: "ansible/" + system + ".yml", Data: t.playbook(system)})
		site += fmt.Sprintf("- name: %s\n  ansible.builtin.import_playbook: %s\n", quoted("Prerequisites of "+system), quoted(system+".yml"))
	}
	return append(nodes, Node{Path: "ansible/site.yml", Data: []byte(site)}, Node{Path: "ansible/inventory/hosts.yml", Data: t.inventory()})
}

// RoleName is what Ansible calls the role of a prerequisite.
func RoleName(name string) string { return desired.RoleName(name) }

func rolePath(name, of string) string {
	return "ansible/roles/" + RoleName(name) + "/" + of + "/main.yml"
}

// role is the role of one prerequisite.
func (t table) role(name string) []Node {
	var b strings.Builder
	b.WriteString("---\n" + t.generated("#", "Prerequisite "+name) + t.stamp("#", name))
	p := t.site.Prerequisites[name]
	for _, system := range slices.Sorted(maps.Keys(p.Systems)) {
		v := p.Systems[system].TheVersion(p)
		source, provider, _ := p.Source(system, v)
		b.WriteString(t.task(system, row{name, v, source, provider}))
	}
	meta := "---\n" + t.generated("#", "Prerequisite "+name) + "dependencies:"
	if len(p.Needs) == 0 {
		meta += " []"
	}
	meta += "\n"
	for _, need := range slices.Sorted(slices.Values(p.Needs)) {
		meta += "  - role: " + quoted(RoleName(need)) + "\n"
	}
	return []Node{{Path: rolePath(name, "tasks"), Data: []byte(b.String())}, {Path: rolePath(name, "meta"), Data: []byte(meta)}}
}

// task installs a prerequisite on one system: the distribution's package by Ansible's own module, anything else by the same script that people use.
func (t table) task(system string, r row) string {
	when := fmt.Sprintf("  when: pomona_system == %s\n", strings.ReplaceAll(quoted(system), `"`, "'"))
	name := "- name: " + quoted(fmt.Sprintf("Install %s %s on %s", r.name, r.version, system)) + "\n"
	family := t.site.Settings.Systems[system].Family
	if r.provider == desired.FromDistro && family != desired.MacOS {
		module, more := "ansible.builtin.apt", "    update_cache: true\n    cache_valid_time: 3600\n    install_recommends: false\n"
		if family == desired.RHEL {
			module, more = "ansible.builtin.dnf", "    install_weak_deps: false\n"
		}
		return name + "  " + module + ":\n    name: " + quoted(r.source.Distro.Package) + "\n    state: present\n" + more + "  become: true\n" + whenOf(when, system)
	}
	script := fmt.Sprintf("{{ playbook_dir }}/../%s/%s %s", system, InstallScript, r.want())
	become := "  become: true\n"
	if family == desired.MacOS {
		become = "  become: false\n"
	}
	return name + "  ansible.builtin.script:\n    cmd: " + quoted(script) + "\n  register: pomona_installed\n" +
		"  changed_when: (pomona_installed.stdout_lines | default(['changed=0']) | last) != 'changed=0'\n" + become + whenOf(when, system)
}

// whenOf is a condition, with the name that pages and tests look for.
func whenOf(when, system string) string { return when + "  tags:\n    - " + quoted(system) + "\n" }

// playbook gives one system its prerequisites.
func (t table) playbook(system string) []byte {
	var b strings.Builder
	b.WriteString("---\n" + t.generated("#", "Prerequisites of "+system))
	own, _ := t.rows(system)
	for _, r := range own {
		b.WriteString(t.stamp("#", r.name))
	}
	fmt.Fprintf(&b, `- name: %s
  hosts: "{{ target | default(%s) }}"
  gather_facts: false
  vars:
    pomona_system: %s
  roles:
`, quoted("Prerequisites of "+system), "'"+groupName(system)+"'", quoted(system))
	for _, r := range own {
		fmt.Fprintf(&b, "    - role: %s\n", quoted(RoleName(r.name)))
	}
	return []byte(b.String())
}

// groupName is what the inventory calls a system: names of groups have no dashes.
func groupName(system string) string { return "pomona_" + desired.RoleName(system) }

// inventory are the FECs whose platform is a system.
func (t table) inventory() []byte {
	hosts := map[string][]string{}
	for _, fec := range t.site.FECs {
		if system := t.site.Settings.Platforms[fec.Platform].System; system != "" {
			hosts[system] = append(hosts[system], fec.Host)
		}
	}
	var b strings.Builder
	b.WriteString("---\n" + t.generated("#", "Front-end computers whose platform is a system"))
	b.WriteString("all:\n  children:\n")
	for _, system := range t.systems() {
		fmt.Fprintf(&b, "    %s:\n", groupName(system))
		if len(hosts[system]) == 0 {
			b.WriteString("      hosts: {}\n")
			continue
		}
		slices.Sort(hosts[system])
		b.WriteString("      hosts:\n")
		for _, host := range hosts[system] {
			fmt.Fprintf(&b, "        %s:\n          ansible_python_interpreter: \"/usr/bin/python3\"\n", quoted(host))
		}
	}
	return []byte(b.String())
}
