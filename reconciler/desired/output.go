package desired

import "github.com/pomona-gitops/pomona/reconciler/artifact"

// The names of the served tree that no entry of a site may take.
const (
	GlobalScripts    = "global"            // beside the FECs
	MonitoringGroups = "monitoring_groups" // beside a FEC's monitoring services
)

// ArchiveName is the file name of an archive, for instance bpm-3.1.0.tar.gz. It carries the platform where a release
// has a payload for that platform alone: bpm-3.1.0-ppc.tar.gz. The key of a configuration's payload is "".
func ArchiveName(name, version, payloadKey string, f artifact.Format) string {
	if payloadKey != "" && payloadKey != AnyPlatform {
		version += "-" + payloadKey
	}
	return name + "-" + version + f.Extension()
}
