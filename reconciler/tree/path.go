package tree

import "strconv"

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
