package forge

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Sizes of texts that forges take.
const (
	maxLine    = 140   // characters of a status
	maxComment = 65536 // bytes; GitHub counts characters, which are never more
	maxTitle   = 255   // characters
)

// cutLine is a text on one line, of so many characters at most.
func cutLine(s string, most int) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return strings.TrimSpace(string([]rune(s)[:most-1])) + "…"
}

// cutText is Markdown of so many bytes at most: cut after a line, with what was open closed, and a link to the rest.
func cutText(s string, most int, link string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= most {
		return s
	}
	rest := "\n\n… and more, which does not fit here."
	if link != "" {
		rest = fmt.Sprintf("\n\n… and more, which does not fit here: %s", link)
	}
	const closing = 200 // bytes kept for what is to be closed
	kept := s[:most-len(rest)-closing]
	if end := strings.LastIndexByte(kept, '\n'); end > len(kept)/2 {
		kept = kept[:end]
	}
	kept = strings.ToValidUTF8(kept, "")
	return kept + closeOpen(kept, closing) + rest
}

// closeOpen ends a fence and folded parts that a cut left open, as far as they fit.
func closeOpen(s string, most int) string {
	fence, folded := "", 0
	for line := range strings.Lines(s) {
		text := strings.TrimLeft(strings.TrimRight(line, "\r\n"), " ")
		ticks := text[:len(text)-len(strings.TrimLeft(text, "`"))]
		switch {
		case fence == "" && len(ticks) >= 3:
			fence = ticks
		case fence != "" && len(ticks) >= len(fence) && strings.TrimSpace(text) == ticks:
			fence = ""
		case fence == "":
			folded += strings.Count(text, "<details") - strings.Count(text, "</details>")
		}
	}
	var b strings.Builder
	if fence != "" && len(fence) < most/2 {
		b.WriteString("\n" + fence)
	}
	for ; folded > 0 && b.Len()+len("\n</details>") <= most; folded-- {
		b.WriteString("\n</details>")
	}
	return b.String()
}

// marker is what finds our own comment again. People do not see it.
func marker(site string) string {
	keep := func(r rune) rune {
		if r == '<' || r == '>' || r == '-' || r < ' ' {
			return '_'
		}
		return r
	}
	return "<!-- pomona " + strings.Map(keep, site) + " -->"
}

// commentOf is a comment with its marker, cut.
func commentOf(o Options, body string) string {
	head := marker(o.Site) + "\n"
	return head + cutText(body, maxComment-len(head), o.Link)
}
