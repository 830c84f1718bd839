// Package schema embeds the CUE schema of a site, a CUE module of its own with one file per concept. Editors and stock
// cue read the same files from the copy that pomona init vendors into a site.
package schema

import "embed"

// FS holds the schema's CUE files, at its top, and cue.mod/module.cue.
//
//go:embed *.cue cue.mod/module.cue
var FS embed.FS

// Path is the import path of the schema, as a site's root file writes it.
const Path = "github.com/pomona-gitops/pomona/schema@v1"

// Root is the name of the generated file at a site's root that unifies the site with #Site.
const Root = "schema.cue"
