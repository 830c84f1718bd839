package main

import (
	"cmp"
	"net"
	"strconv"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/remote"
)

// accessOf is how the service of a site logs into its FECs.
func accessOf(conf desired.ServedSite) *remote.SSH {
	s := &remote.SSH{User: conf.SSH.User, Key: conf.SSH.Key, Timeout: conf.SSH.Patience()}
	if known := cmp.Or(conf.SSH.KnownHosts, conf.KnownHosts); known != "" {
		s.KnownHosts = []string{known}
	}
	return s
}

// hostOf is a FEC as ssh reaches it: what it says itself counts before what its service says.
func hostOf(conf desired.Access, name string, f desired.FEC) remote.Host {
	return remote.Host{
		Name:     name,
		Address:  net.JoinHostPort(cmp.Or(f.SSH.Address, f.Host), strconv.Itoa(cmp.Or(f.SSH.Port, conf.Port, 22))),
		User:     cmp.Or(f.SSH.User, conf.User, "root"),
		HostKeys: f.SSH.HostKeys,
	}
}
