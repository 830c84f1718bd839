//go:build race

package load_test

func init() { raceDetector = true }
