package tree

import (
	"strconv"
	"strings"
)

// The fixed names of a root and of a generation.
const (
	CurrentLink       = "current"
	GenerationsFolder = "generations"
	CommitsFolder     = "by-commit"
	DataFolder        = "data"
	PreviewsFolder    = "previews"
	GenerationFile    = "generation.json"
	IndexFile         = "index"
	SignatureFile     = "index.sig"
)

// GenerationPath is where generation n lies below a root. The link that publishes it holds the same words.
func GenerationPath(n int64) string { return GenerationsFolder + "/" + strconv.FormatInt(n, 10) }

// UpFrom leads to the root from the folder of a generation or preview in which the link at path lies.
func UpFrom(path string) string { return strings.Repeat("../", 2+strings.Count(path, "/")) }
