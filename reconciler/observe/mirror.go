package observe

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/pomona-gitops/pomona/reconciler/artifact"
	"github.com/pomona-gitops/pomona/reconciler/observed"
	"github.com/pomona-gitops/pomona/reconciler/tree"
)

// Limits of what is read of a mirror, in bytes.
const (
	maxRepomd  = 1 << 20
	maxPrimary = 64 << 20 // packed
	maxListed  = 1 << 30  // unpacked
	maxPackage = 4 << 30
)

// Mirror compares packages with what lies at another address as they are served here, OS/ARCH/RPMS.*/: each file by its digest, and what
// repodata offers to clients. The server is not trusted: answers are limited in size and time, redirects to another host are refused. The
// error says that it could not be done.
func Mirror(ctx context.Context, address string, directories []tree.Directory) (observed.Differences, error) {
	at, err := url.Parse(address)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" || at.User != nil {
		return nil, fmt.Errorf("malformed address %q: want http://HOST/… or https://HOST/…", address)
	}
	at.Path = strings.TrimSuffix(at.Path, "/") + "/"
	at.RawPath, at.RawQuery, at.Fragment = "", "", ""
	m := mirror{view: &webView{client: newClient(), base: at}}
	found := make([]observed.Differences, len(directories))
	g, within := errgroup.WithContext(ctx)
	g.SetLimit(requests)
	for i, d := range directories {
		g.Go(func() error {
			found[i] = m.directory(within, d)
			return within.Err()
		})
	}
	err = errors.Join(g.Wait(), ctx.Err())
	return slices.Concat(found...).Sorted(), err
}

type mirror struct{ view *webView }

// directory compares one repository.
func (m mirror) directory(ctx context.Context, d tree.Directory) (ds observed.Differences) {
	differs := func(file, what, want, got string) {
		ds = append(ds, observed.Difference{Path: d.Path() + "/" + file, What: what, Want: want, Got: got})
	}
	unread := func(file string, err error) {
		if absent(err) {
			differs(file, "missing", "", "")
		} else {
			differs(file, unreadable, "", err.Error())
		}
	}
	offered, file, err := m.offered(ctx, d.Path()+"/repodata/")
	if err != nil {
		unread("repodata/"+file, err)
		return ds
	}
	for _, p := range d.Packages {
		o, ok := offered[p.File]
		delete(offered, p.File)
		switch {
		case !ok:
			differs(p.File, "not offered by repodata", "", "")
			continue
		case o.Checksum != p.SHA256:
			differs(p.File, "repodata offers another package", "sha256:"+p.SHA256, "sha256:"+o.Checksum)
			continue
		}
		s, size := newSum(), min(max(o.Size.Package, 0), maxPackage)
		_, err := m.view.get(ctx, d.Path()+"/"+p.File, "", size, size, s)
		switch {
		case err != nil && s.size <= size:
			unread(p.File, err)
		case s.digest().String() != p.SHA256:
			differs(p.File, "package differs", "sha256:"+p.SHA256, observed.Named(s.digest()))
		}
	}
	for name := range offered {
		differs(name, "repodata offers what is not frozen", "", "")
	}
	return ds
}

// listed is a package in primary.xml.
type listed struct {
	Checksum string `xml:"checksum"`
	Location struct {
		Href string `xml:"href,attr"`
	} `xml:"location"`
	Size struct {
		Package int64 `xml:"package,attr"`
	} `xml:"size"`
}

// offered are the packages of a repository's primary.xml by file name, and the file that an error is about.
func (m mirror) offered(ctx context.Context, at string) (map[string]listed, string, error) {
	b, err := m.view.read(ctx, at+"repomd.xml", maxRepomd)
	if err != nil {
		return nil, "repomd.xml", err
	}
	var repomd struct {
		Data []struct {
			Type     string `xml:"type,attr"`
			Checksum string `xml:"checksum"`
			Location struct {
				Href string `xml:"href,attr"`
			} `xml:"location"`
		} `xml:"data"`
	}
	if err := xml.Unmarshal(b, &repomd); err != nil {
		return nil, "repomd.xml", fmt.Errorf("malformed: %w", err)
	}
	for _, d := range repomd.Data {
		if d.Type != "primary" {
			continue
		}
		name := path.Base(d.Location.Href)
		if d.Location.Href != "repodata/"+name {
			return nil, "repomd.xml", fmt.Errorf("names primary.xml at %.100q", d.Location.Href)
		}
		b, err := m.view.read(ctx, at+name, maxPrimary)
		if err != nil {
			return nil, name, err
		}
		if artifact.Sum(b).String() != d.Checksum {
			return nil, name, errors.New("it is not the one that repomd.xml names")
		}
		all, err := parsePrimary(b)
		return all, name, err
	}
	return nil, "repomd.xml", errors.New("names no primary.xml")
}

// parsePrimary reads primary.xml, as it is or with gzip.
func parsePrimary(b []byte) (map[string]listed, error) {
	var in io.Reader = bytes.NewReader(b)
	if bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("malformed: %w", err)
		}
		in = z
	}
	all, decoder := map[string]listed{}, xml.NewDecoder(io.LimitReader(in, maxListed))
	for {
		t, err := decoder.Token()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("malformed: %w", err)
		}
		if start, ok := t.(xml.StartElement); ok && start.Name.Local == "package" {
			var p listed
			if err := decoder.DecodeElement(&p, &start); err != nil {
				return nil, fmt.Errorf("malformed: %w", err)
			}
			if p.Location.Href != path.Base(p.Location.Href) {
				return nil, fmt.Errorf("it has a package at %.100q, not beside repodata", p.Location.Href)
			}
			all[p.Location.Href] = p
		}
	}
}
