package main

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// pilotStartFlags say what a pilot is, and who does what in it.
type pilotStartFlags struct {
	pilot        desired.Pilot
	success      []string
	staff        reconciler.StaffPilot
	services     []string
	resources    string
	waves        []string
	minimum      int
	participants []string
	infosys      desired.InfoSys
	packages     string
	update       desired.PilotUpdate
}

// pilotStartVerbs lead to a pilot that can be frozen.
func pilotStartVerbs() []pilotVerb {
	return []pilotVerb{
		{
			name: "request", short: "ask for a new pilot (anybody)",
			long: `Ask for a pilot: a service that sites install, or a software that FECs run. It becomes a file of its own, pilots/NAME/pilot.cue.`,
			example: `  pomona pilot grid-1 request --scope grid-service --service compute --description "a compute element that …" --ticket https://… \
    --expires 2027-06-30 --success jobs="ninety-nine of a hundred jobs end as they should"
  pomona pilot bpm-4 request --scope fec --software bpm-fesa --version 4.0 --description "…" --ticket https://… --expires 2027-06-30 --success noise="…"`,
			flags: func(f *pilotFlags) {
				p := &f.words.start.pilot
				f.set.StringVar(&p.Scope, "scope", "", "grid-service, which sites install, or fec")
				f.set.StringVar(&p.Description, "description", "", "what is asked for, in 40 characters at least")
				f.set.StringVar(&p.Owner, "owner", "", "who answers for it; default: who says it")
				f.set.StringVar(&p.Ticket, "ticket", "", "address of the request's ticket")
				f.set.StringVar(&p.Expires, "expires", "", "its last day, as 2027-06-30")
				f.set.StringArrayVar(&f.words.start.success, "success", nil, "NAME=DESCRIPTION of what must be met to promote it; several times")
				f.set.StringVar(&p.Service, "service", "", "of sites: the service")
				f.set.StringVar(&p.Software, "software", "", "of FECs: the software")
				f.set.StringVar(&p.Version, "version", "", "of FECs: its version")
			},
			word: requestPilot,
		},
		{
			name: "staff", short: "who does what, who takes part and in which order (owner or coordinator)",
			long: `Say who does what in a pilot, what it affects, who takes part and in which order. What is not said stays as it is; a role is given anew, a site
or a list added.

A wave is written as MEMBER,MEMBER,…,OPTION=VALUE: of FECs its members are FECs, or group:GROUP; sites name their wave themselves, SITE=CONTACT:WAVE.
Options are success (a percentage), maxFailures and soak.`,
			example: `  pomona pilot grid-1 staff --coordinator ann@example.org --developer bob@example.org --authoriser eve@example.org --tester joe@example.org \
    --tracker https://… --affects compute --needs "a node of 8 cores" --wave success=100%,soak=7d --wave success=80% --participant cern=kim@example.org:1
  pomona pilot bpm-4 staff --wave kgp2bp01,soak=1d --wave group:ring,success=90%,maxFailures=1`,
			flags: staffFlags,
			word:  staffPilot,
		},
		{
			name: "agree", short: "agree to what the pilot says of itself, once somebody else has changed that (owner or coordinator)",
			long: `Agree to what a pilot says of itself, and see it: who does what in it, who takes part, what decides whether it gets further and when it ends. Nothing
goes further before. Whoever asks for a pilot of their own, and its owner or coordinator who staff it, agree by that to what they change; this is
for what others have written. Who may is known by the agreement before, and not by what is to be agreed to: the first is the owner's. If nobody can
any more who may, somebody else agrees with --vouched, and an operator vouches for it: pomona pilot NAME vouch RECORD.`,
			example: "  pomona pilot grid-1 agree --dry-run\n  pomona pilot grid-1 agree",
			flags: func(f *pilotFlags) {
				f.set.BoolVar(&f.words.vouched, "vouched", false, "agree although you may not: it counts once an operator vouches for it")
			},
			word: func(f *pilotFlags, _ []string) (reconciler.PilotWord, error) {
				return reconciler.AgreePilot{Vouched: f.words.vouched}, nil
			},
		},
		{
			name: "add-packages", args: "FOLDER", short: "the packages of the first installation (developer or coordinator)", least: 1, most: 1, withPackages: true,
			long: `Take the packages of a source repository, OS/ARCH/RPMS.Release/*.rpm and likewise RPMS.externals, RPMS.pilot_updates and RPMS.production_updates: work out
their digests, bring them to the blob store, and state them as the pilot's branches. A branch that is there already becomes what the folder has.
With --url they lie at that address in the same folders, and are not brought anywhere.`,
			example: "  pomona pilot grid-1 add-packages build/repository --root /srv/pomona",
			flags:   packageFlags,
			word: func(f *pilotFlags, args []string) (reconciler.PilotWord, error) {
				if err := f.checkStore(); err != nil {
					return nil, err
				}
				return reconciler.AddPackages{Folder: args[0], URL: f.words.record.URL}, nil
			},
		},
		{
			name: "update", args: "UPDATE add", short: "packages that come after the first installation (developer or coordinator)", least: 2, most: 2, withPackages: true,
			long: `Candidate an update: packages to add to what was mirrored last, from OS/ARCH/*.rpm or OS/ARCH/RPMS.pilot_updates/*.rpm (of kind production:
RPMS.production_updates). What follows is said of it as of the pilot itself: pomona pilot NAME update UPDATE approve, freeze, report, notes, mirror.`,
			example: `  pomona pilot grid-1 update fix-1 add --kind pilot --reason bugfix --packages build/fix --root /srv/pomona
  pomona pilot grid-1 update fix-1 approve`,
			flags: func(f *pilotFlags) {
				u := &f.words.start.update
				packageFlags(f)
				f.set.StringVar(&f.words.start.packages, "packages", "", "folder of the packages")
				f.set.StringVar(&u.Kind, "kind", "", "production: what production nodes get too; pilot: a new version of the pilot")
				f.set.StringVar(&u.Reason, "reason", "", "security, bugfix or enhancement")
				f.set.StringVar(&u.Advisory, "advisory", "", "of a security update: its advisory")
				f.set.StringVar(&u.Test, "test", "", "required or skipped, which the authoriser or a tester has to waive; default: required")
				f.set.StringVar(&u.Compat, "compat", "", "backward-compatible or breaking; default: backward-compatible")
			},
			word: addUpdate,
		},
		{
			name: "approve", short: "let an update go its way (coordinator)", ofUpdate: true,
			long: "Approve an update that somebody has candidated.", example: "  pomona pilot grid-1 update fix-1 approve",
			word: func(f *pilotFlags, _ []string) (reconciler.PilotWord, error) {
				return recorded(f, desired.RecordApproval, nil)
			},
		},
		{
			name: "reject", short: "stop an update (coordinator)", ofUpdate: true,
			long: "Reject an update, for a reason.", example: `  pomona pilot grid-1 update fix-1 reject --reason "it does not fix what it should"`,
			flags: func(f *pilotFlags) {
				f.set.StringVar(&f.words.record.Reason, "reason", "", "why, in 20 characters at least")
			},
			word: func(f *pilotFlags, _ []string) (reconciler.PilotWord, error) {
				if f.words.record.Reason == "" {
					return nil, errors.New("nothing says why: give --reason")
				}
				return recorded(f, desired.RecordRejection, nil)
			},
		},
	}
}

func packageFlags(f *pilotFlags) {
	f.set.StringVar(&f.words.record.URL, "url", "", "address where the packages lie, in the same folders; default: the blob store of --root or --to")
}

// checkStore says whether it is known where packages go.
func (f *pilotFlags) checkStore() error {
	given := 0
	for _, to := range []string{f.to, f.root, f.words.record.URL} {
		if to != "" {
			given++
		}
	}
	if given != 1 {
		return errors.New("nothing says where the packages lie: give one of --root, --to and --url")
	}
	return nil
}

// pairs are NAME=VALUE flags.
func pairs(flag string, values []string) (names []string, by map[string]string, err error) {
	by = map[string]string{}
	for _, v := range values {
		name, value, ok := strings.Cut(v, "=")
		if !ok || name == "" || value == "" {
			return nil, nil, fmt.Errorf("malformed --%s %q: want NAME=VALUE", flag, v)
		}
		if _, twice := by[name]; twice {
			return nil, nil, fmt.Errorf("--%s %s is given twice", flag, name)
		}
		names, by[name] = append(names, name), value
	}
	return names, by, nil
}

func requestPilot(f *pilotFlags, _ []string) (reconciler.PilotWord, error) {
	p := f.words.start.pilot
	if p.Scope == "" {
		return nil, errors.New("nothing says what it is for: give --scope grid-service or --scope fec")
	}
	wanted := []struct{ flag, value string }{{"description", p.Description}, {"ticket", p.Ticket}, {"expires", p.Expires}}
	if p.Scope == desired.PilotOfFECs {
		wanted = append(wanted, []struct{ flag, value string }{{"software", p.Software}, {"version", p.Version}}...)
	} else {
		wanted = append(wanted, struct{ flag, value string }{"service", p.Service})
	}
	for _, w := range wanted {
		if w.value == "" {
			return nil, fmt.Errorf("give --%s", w.flag)
		}
	}
	_, by, err := pairs("success", f.words.start.success)
	if err != nil {
		return nil, err
	}
	if len(by) == 0 {
		return nil, errors.New("nothing says when it has succeeded: give --success NAME=DESCRIPTION")
	}
	p.Success = map[string]desired.Criterion{}
	for name, description := range by {
		p.Success[name] = desired.Criterion{Description: description}
	}
	return reconciler.RequestPilot{Pilot: p}, nil
}

func staffFlags(f *pilotFlags) {
	s := &f.words.start
	f.set.StringVar(&s.staff.Roles.Coordinator, "coordinator", "", "who runs it")
	f.set.StringVar(&s.staff.Roles.Developer, "developer", "", "who answers questions about what it is made of")
	f.set.StringVar(&s.staff.Roles.Authoriser, "authoriser", "", "who lets it out")
	f.set.StringSliceVar(&s.staff.Roles.Testers, "tester", nil, "who tests it before; several times")
	f.set.StringVar(&s.staff.Urgency, "urgency", "", "normal or fast")
	f.set.StringVar(&s.staff.Tracker, "tracker", "", "address where its progress is discussed")
	f.set.StringVar(&s.staff.Expires, "expires", "", "its last day, as 2027-06-30")
	f.set.StringSliceVar(&s.services, "affects", nil, "services that it affects; several times")
	f.set.StringVar(&s.resources, "needs", "", "what hardware and software it needs")
	f.set.StringArrayVar(&s.waves, "wave", nil, "who gets it together: MEMBER,…,OPTION=VALUE; once for each wave")
	f.set.IntVar(&s.minimum, "minimum", 0, "sites or FECs that must run it before it is deployed")
	f.set.StringArrayVar(&s.participants, "participant", nil, "SITE=CONTACT or SITE=CONTACT:WAVE; several times")
	f.set.StringSliceVar(&s.staff.Audience, "audience", nil, "who else is told of what goes out to participants; several times")
	f.set.StringVar(&s.infosys.Type, "infosys-type", "", "service type of its resources in the information system")
	f.set.StringVar(&s.infosys.Server, "infosys-server", "", "directory server that says what is published, as ldap://bdii.example.org:2170")
	f.set.StringVar(&s.infosys.QualityLevel, "infosys-quality", "", "development, testing, pre-production or production; default: pre-production")
}

func staffPilot(f *pilotFlags, _ []string) (reconciler.PilotWord, error) {
	s := f.words.start
	w := s.staff
	if len(s.services) > 0 || s.resources != "" {
		if len(s.services) == 0 || s.resources == "" {
			return nil, errors.New("its impact is both --affects and --needs")
		}
		w.Impact = &desired.PilotImpact{Services: s.services, Resources: s.resources}
	}
	if len(s.waves) > 0 || s.minimum > 0 {
		w.Rollout = &desired.Rollout{Minimum: s.minimum}
		for _, text := range s.waves {
			wave, err := readWave(text)
			if err != nil {
				return nil, err
			}
			w.Rollout.Waves = append(w.Rollout.Waves, wave)
		}
	}
	if s.infosys.Type != "" {
		w.InfoSys = &s.infosys
	} else if s.infosys != (desired.InfoSys{}) {
		return nil, errors.New("how its resources are found needs --infosys-type")
	}
	names, by, err := pairs("participant", s.participants)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if w.Sites == nil {
			w.Sites = map[string]desired.PilotSite{}
		}
		contact, wave := by[name], 0
		if i := strings.LastIndexByte(contact, ':'); i >= 0 {
			if wave, err = strconv.Atoi(contact[i+1:]); err != nil || wave < 1 {
				return nil, fmt.Errorf("malformed --participant %q: want SITE=CONTACT:WAVE", name+"="+contact)
			}
			contact = contact[:i]
		}
		w.Sites[name] = desired.PilotSite{Contact: contact, Wave: wave}
	}
	if reflect.DeepEqual(w, reconciler.StaffPilot{}) {
		return nil, errors.New("nothing says who does what: give --coordinator, --developer, --authoriser and --tester, or what else is to change")
	}
	return w, nil
}

// readWave reads MEMBER,…,OPTION=VALUE.
func readWave(text string) (w desired.PilotWave, err error) {
	for part := range strings.SplitSeq(text, ",") {
		option, value, ok := strings.Cut(part, "=")
		switch {
		case !ok && strings.HasPrefix(part, "group:"):
			w.Groups = append(w.Groups, strings.TrimPrefix(part, "group:"))
		case !ok && part != "":
			w.FECs = append(w.FECs, part)
		case option == "success":
			w.Success = value
		case option == "soak":
			w.Soak = value
		case option == "maxFailures":
			if w.MaxFailures, err = strconv.Atoi(value); err != nil {
				return w, fmt.Errorf("malformed wave %q: maxFailures is no number", text)
			}
		default:
			near := desired.Suggest(option, []string{"success", "soak", "maxFailures"})
			if near != "" {
				near = fmt.Sprintf(": did you mean %q?", near)
			}
			return w, fmt.Errorf("malformed wave %q: unknown option %q%s; want for instance --wave group:ring,success=90%%,maxFailures=1,soak=1d", text, option, near)
		}
	}
	if _, err := desired.ParseDuration(w.Soak); w.Soak != "" && err != nil {
		return w, fmt.Errorf("malformed wave %q: soak is a time as 12h, 2d or 1w", text)
	}
	if n, err := strconv.Atoi(strings.TrimSuffix(w.Success, "%")); w.Success != "" && (err != nil || n < 1 || n > 100 || !strings.HasSuffix(w.Success, "%")) {
		return w, fmt.Errorf("malformed wave %q: success is a share as 80%%", text)
	}
	return w, nil
}

func addUpdate(f *pilotFlags, args []string) (reconciler.PilotWord, error) {
	u := f.words.start.update
	if args[1] != "add" {
		if !isPilotVerb(args[1]) {
			return nil, fmt.Errorf("unknown verb %q of an update: want add, approve, reject, freeze, report, notes, mirror, authorise, waive or halt", args[1])
		}
		return nil, fmt.Errorf("%[1]s is said of an update as: pomona pilot NAME update %[2]s %[1]s", args[1], args[0])
	}
	for _, w := range []struct {
		flag, value string
		words       []string
	}{
		{"kind", u.Kind, []string{desired.ProductionUpdate, desired.UpdateOfPilot}},
		{"reason", u.Reason, []string{"security", "bugfix", "enhancement"}},
	} {
		if err := oneOf(w.flag, w.value, w.words...); err != nil {
			return nil, err
		}
	}
	switch {
	case f.words.start.packages == "":
		return nil, errors.New("no packages: give --packages FOLDER")
	case u.Reason == "security" && u.Advisory == "":
		return nil, errors.New("a security update names what it is for: give --advisory")
	}
	if err := f.checkStore(); err != nil {
		return nil, err
	}
	return reconciler.AddUpdate{Update: args[0], Is: u, Packages: reconciler.AddPackages{Folder: f.words.start.packages, URL: f.words.record.URL}}, nil
}
