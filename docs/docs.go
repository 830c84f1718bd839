// Package docs holds the files that Pomona ships for other programs to read.
package docs

import "embed"

// FS holds monitoring/ and systemd/.
//
//go:embed monitoring/alerts.yaml monitoring/dashboard.json systemd/pomona.service
var FS embed.FS
