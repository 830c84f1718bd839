// Package sitetemplate embeds a small complete site: what pomona init copies and the demo boots from.
package sitetemplate

import (
	"bytes"
	"embed"
	"regexp"
	"time"
)

// FS holds the site, this file among it. The copy of the schema is not in it: pomona init writes it.
//
//go:embed all:*
var FS embed.FS

// Executable says whether a file of this content is a program: embedding loses modes.
func Executable(content []byte) bool { return bytes.HasPrefix(content, []byte("#!")) }

// written is the day of which the site is.
var written = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

// quarter is by how much days of the site move.
const quarter = 91 * 24 * time.Hour

// dated are the days of the site that today makes a difference to.
var dated = regexp.MustCompile(`\b(asOf|until|expires)(: +")(\d{4}-\d{2}-\d{2})"`)

// Today is a file of the site as if that had been written within the last quarter: a new site has nothing that has ended, and no warnings.
func Today(content []byte, now time.Time) []byte {
	by := now.Sub(written) / quarter * quarter
	if by <= 0 {
		return content
	}
	return dated.ReplaceAllFunc(content, func(b []byte) []byte {
		m := dated.FindSubmatch(b)
		day, err := time.Parse(time.DateOnly, string(m[3]))
		if err != nil {
			return b
		}
		return []byte(string(m[1]) + string(m[2]) + day.Add(by).Format(time.DateOnly) + `"`)
	})
}
