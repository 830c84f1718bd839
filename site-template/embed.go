// Package sitetemplate embeds a small complete site: what pomona init copies and the demo boots from.
package sitetemplate

import (
	"bytes"
	"embed"
)

// FS holds the site, this file among it. The copy of the schema is not in it: pomona init writes it.
//
//go:embed all:*
var FS embed.FS

// Executable says whether a file of this content is a program: embedding loses modes.
func Executable(content []byte) bool { return bytes.HasPrefix(content, []byte("#!")) }
