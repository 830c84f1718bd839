package crowd

import (
	"crypto/sha256"
	"fmt"
	"io"
)

// obeyDev answers dev, with the words that follow it.
func (f *FEC) obeyDev(words []string, in io.Reader, stdout, stderr io.Writer) int {
	name := words[1]
	if words[0] == "put" && len(words) == 5 {
		return f.put(name, words[2], words[3], in, stderr)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	d, there := f.dev[name]
	if !there {
		return refuse(stderr, failed, "no %s was put here", name)
	}
	switch words[0] {
	case "start", "stop":
		d.Started = words[0] == "start"
		f.dev[name] = d
	case "log":
		fmt.Fprintf(stdout, "%s %s: started %v\n", name, d.Version, d.Started)
	case "drop":
		delete(f.dev, name)
	default:
		return refuse(stderr, refused, "dev %s is not allowed", words[0])
	}
	return ok
}

func (f *FEC) put(name, version, digest string, in io.Reader, stderr io.Writer) int {
	h := sha256.New()
	n, err := io.Copy(h, in)
	if err != nil || fmt.Sprintf("%x", h.Sum(nil)) != digest {
		return refuse(stderr, failed, "what came is not what was sent")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dev[name] = Dev{Version: version, Size: n}
	return ok
}
