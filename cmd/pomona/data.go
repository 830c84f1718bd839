package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/collect"
	"github.com/pomona-gitops/pomona/reconciler/observe"
	"github.com/pomona-gitops/pomona/reconciler/report"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

func dataCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "data",
		Short: "Show, collect, restore and export persistent data of FECs",
		Long: `Show, collect, restore and export what a service has collected of the persistent data of FECs. A snapshot is what was
collected of one FEC's data of one name at one time; it is named by the first digits of its SHA-256.`,
	}
	cmd.AddCommand(dataListCommand(), dataCollectCommand(), dataRestoreCommand(), dataExportCommand())
	return cmd
}

// dataFlags are what every command about data needs.
type dataFlags struct{ root, output string }

func (f *dataFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.root, "root", "", "served directory (required)")
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "text or json")
}

// give has the service of the root carry out an order.
func (f *dataFlags) give(cmd *cobra.Command, o dataOrder) error {
	if err := checkOutput(f.output); err != nil {
		return err
	}
	a, err := ask(cmd, f.root, "data", o)
	if errors.Is(err, serve.ErrNoService) {
		return fmt.Errorf("%w: only a service collects and signs data; start pomona serve --config", err)
	}
	if errors.Is(err, serve.ErrUnknown) {
		return errors.New("the service of this root collects no data: its configuration has no collect")
	}
	if err != nil {
		return err
	}
	return show(cmd, a, f.output)
}

func dataListCommand() *cobra.Command {
	var f dataFlags
	cmd := &cobra.Command{
		Use:   "list [FEC]",
		Short: "Show what was collected, and how that goes",
		Long:  "Show what was collected of all FECs or, with all its snapshots, of one, and how collecting goes. Without a service, show what there is.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(f.output); err != nil {
				return err
			}
			o := dataOrder{Do: "list"}
			if len(args) > 0 {
				o.FEC = args[0]
			}
			a, err := ask(cmd, f.root, "data", o)
			if err == nil {
				return show(cmd, a, f.output)
			}
			if !errors.Is(err, serve.ErrNoService) && !errors.Is(err, serve.ErrUnknown) {
				return err
			}
			root, err := os.OpenRoot(f.root)
			if err != nil {
				return fmt.Errorf("open root: %w", err)
			}
			defer root.Close() // only read
			l, err := dataOf(root, false, nil, o.FEC)
			if err == nil {
				err = isKnown(root, l, o.FEC)
			}
			if err != nil {
				return err
			}
			return write(cmd.OutOrStdout(), f.output, l, l.Text)
		},
	}
	f.add(cmd)
	return cmd
}

func dataCollectCommand() *cobra.Command {
	var f dataFlags
	var shrunken bool
	cmd := &cobra.Command{
		Use:   "collect FEC NAME",
		Short: "Collect a FEC's data now",
		Long:  "Have the service collect a FEC's persistent data of one name now, instead of waiting for its turn.",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.give(cmd, dataOrder{Do: "collect", FEC: args[0], Name: args[1], Shrunken: shrunken})
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&shrunken, "shrunken", false, "it is right that there is much less than before")
	return cmd
}

func dataRestoreCommand() *cobra.Command {
	var f dataFlags
	var snapshot string
	var newest bool
	cmd := &cobra.Command{
		Use:   "restore FEC NAME --snapshot DIGEST | --newest",
		Short: "Choose which snapshot a FEC restores",
		Long: `Have a FEC restore an earlier snapshot, whatever is collected meanwhile, until --newest ends that. It does so when it
boots into a new slot; see docs/persistent-data.md for FECs that keep their slots.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (snapshot == "") != newest {
				return errors.New("say which one: give either --snapshot or --newest")
			}
			return f.give(cmd, dataOrder{Do: "restore", FEC: args[0], Name: args[1], Snapshot: snapshot})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&snapshot, "snapshot", "", "first digits of the snapshot's digest, as pomona data list FEC shows it")
	cmd.Flags().BoolVar(&newest, "newest", false, "the newest one, again")
	return cmd
}

func dataExportCommand() *cobra.Command {
	var root, snapshot string
	cmd := &cobra.Command{
		Use:   "export FEC NAME FILE",
		Short: "Write a snapshot to a file",
		Long:  "Write a snapshot, a gzipped tar, to a new file, or with - to standard output: the newest one unless --snapshot says another. No service is needed.",
		Args:  cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			if root == "" {
				return fmt.Errorf("no served directory: give --root\nsee %s --help", cmd.CommandPath())
			}
			opened, err := os.OpenRoot(root)
			if err != nil {
				return fmt.Errorf("open root: %w", err)
			}
			defer opened.Close() // only read
			s, err := findSnapshot(opened, args[0], args[1], snapshot)
			if err != nil {
				return err
			}
			return export(opened, s, args[2], cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "served directory (required)")
	cmd.Flags().StringVar(&snapshot, "snapshot", "", "first digits of the snapshot's digest")
	return cmd
}

func export(root *os.Root, s collect.Snapshot, file string, stdout io.Writer) error {
	from, err := collect.Open(root, s)
	if err != nil {
		return err
	}
	defer from.Close() // only read
	if file == "-" {
		_, err = io.Copy(stdout, from)
		return err
	}
	to, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = io.Copy(to, from); err != nil {
		return errors.Join(err, to.Close(), os.Remove(file))
	}
	return to.Close()
}

// findSnapshot is the snapshot of a FEC's data whose digest begins with some digits; with none, the newest one.
func findSnapshot(root *os.Root, fec, name, digits string) (collect.Snapshot, error) {
	have, err := collect.Snapshots(root, fec)
	if err != nil {
		return collect.Snapshot{}, err
	}
	have = slices.DeleteFunc(have, func(s collect.Snapshot) bool { return s.Name != name || !strings.HasPrefix(s.Object.String(), digits) })
	switch {
	case len(have) == 0:
		return collect.Snapshot{}, fmt.Errorf("there is no such snapshot: pomona data list %s shows those that there are", fec)
	case len(have) > 1 && digits != "":
		return collect.Snapshot{}, fmt.Errorf("%d snapshots begin with %q: give more digits", len(have), digits)
	}
	return have[0], nil
}

// dataOf is what was collected of all FECs or of one, what is published to be collected and, if a service collects, how that goes.
func dataOf(root *os.Root, service bool, going []collect.Status, fec string) (report.DataList, error) {
	l := report.DataList{Service: service, One: fec != "", Data: []report.Data{}}
	chosen, err := collect.Chosen(root)
	if err != nil {
		return l, err
	}
	fecs := []string{fec}
	if fec == "" {
		if fecs, err = collect.FECs(root); err != nil {
			return l, err
		}
	}
	for _, name := range fecs {
		have, err := collect.Snapshots(root, name)
		if err != nil {
			return l, err
		}
		for _, s := range have {
			d := l.Of(s.FEC, s.Name)
			pin := chosen[s.FEC][s.Name]
			first := !slices.ContainsFunc(d.Snapshots, func(o report.Snapshot) bool { return o.Schema == s.Schema })
			d.Snapshots = append(d.Snapshots, report.Snapshot{
				Object: s.Object, Schema: s.Schema, Path: s.Path, At: s.At, Seen: s.Seen, Files: s.Files, Bytes: s.Bytes, Size: s.Size,
				Archived: s.Archived, Chosen: pin == s.Object, Newest: first,
			})
		}
	}
	for _, g := range going {
		if fec != "" && g.FEC != fec {
			continue
		}
		d := l.Of(g.FEC, g.Name)
		d.Wanted, d.Outcome, d.Tried, d.Next, d.Since = true, string(g.Outcome), g.Tried, g.Next, g.Since
		if g.Err != nil {
			d.Error = secrets.Mask(g.Err.Error())
		}
	}
	if len(going) == 0 { // nobody has looked yet
		if err := wantedData(root, &l, fec); err != nil {
			return l, err
		}
	}
	l.Sort(fec)
	return l, nil
}

// isKnown says that there is no such FEC, if nothing is published for it, and nothing was collected of it.
func isKnown(root *os.Root, l report.DataList, fec string) error {
	if fec == "" || len(l.Data) > 0 {
		return nil
	}
	names, err := publishedFECs(root)
	if err != nil || slices.Contains(names, fec) {
		return err
	}
	return reconciler.NoFEC(fec, names)
}

// wantedData adds what is published of the persistent data of all FECs or of one.
func wantedData(root *os.Root, l *report.DataList, fec string) error {
	fecs := []string{fec}
	if fec == "" {
		var err error
		if fecs, err = publishedFECs(root); err != nil {
			return err
		}
	}
	for _, name := range fecs {
		m, err := observe.Manifest(root, name)
		if err != nil {
			return err
		}
		for _, p := range m.Persistence {
			l.Of(name, p.Name).Wanted = true
		}
	}
	return nil
}

func publishedFECs(root *os.Root) (names []string, err error) {
	now, err := observe.Now(root)
	for _, f := range now.Index.FECs {
		names = append(names, f.Name)
	}
	return names, err
}
