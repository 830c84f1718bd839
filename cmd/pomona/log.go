package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pomona-gitops/pomona/reconciler/announce"
)

// secrets are what this process has read and nobody may see.
var secrets announce.Secrets

// conceal registers what a file of secrets holds: its lines, and the password of one that says USER:PASSWORD.
func conceal(file []byte) {
	for line := range bytes.Lines(file) {
		s := string(bytes.TrimSpace(line))
		if strings.HasPrefix(s, "untrusted comment:") || strings.HasPrefix(s, "-----") {
			continue
		}
		secrets.Add(s)
		if _, password, ok := strings.Cut(s, ":"); ok {
			secrets.Add(password)
		}
	}
}

// logFlags say how a service logs.
type logFlags struct{ format, level string }

func (f *logFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.format, "log-format", "text", "text or json")
	cmd.Flags().StringVar(&f.level, "log-level", "info", "debug, info, warn or error")
}

// logger writes lines to w, without secrets.
func (f *logFlags) logger(w io.Writer) (*slog.Logger, error) {
	var o slog.HandlerOptions
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil || strings.ContainsAny(f.level, "+-") {
		return nil, fmt.Errorf("unknown --log-level %q: want debug, info, warn or error", f.level)
	}
	o.Level = level
	switch w = secrets.Writer(w); f.format {
	case "text":
		return slog.New(slog.NewTextHandler(w, &o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &o)), nil
	}
	return nil, fmt.Errorf("unknown --log-format %q: want text or json", f.format)
}
