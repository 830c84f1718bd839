package serve

import _ "embed"

// ClientScript asks the submission API, in POSIX sh: pomona-submissions.
//
//go:embed pomona-submissions
var ClientScript []byte

// ReporterScript tells from within a job what it is doing, in POSIX sh: pomona-job.
//
//go:embed pomona-job
var ReporterScript []byte
