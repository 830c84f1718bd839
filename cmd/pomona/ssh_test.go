package main

import (
	"reflect"
	"testing"

	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/remote"
)

func TestWhatAFECSaysOfItselfCounts(t *testing.T) {
	own := desired.SSH{Address: "10.0.0.1", Port: 2222, User: "fec", HostKeys: []string{"ssh-ed25519 AAAA"}}
	for _, c := range []struct {
		service desired.Access
		fec     desired.FEC
		want    remote.Host
	}{
		{desired.Access{}, desired.FEC{Host: "scuxl0815"}, remote.Host{Name: "kgp2cu02", Address: "scuxl0815:22", User: "root"}},
		{desired.Access{User: "pomona", Port: 2022}, desired.FEC{Host: "scuxl0815"}, remote.Host{Name: "kgp2cu02", Address: "scuxl0815:2022", User: "pomona"}},
		{desired.Access{User: "pomona", Port: 2022}, desired.FEC{Host: "scuxl0815", SSH: own}, remote.Host{Name: "kgp2cu02", Address: "10.0.0.1:2222", User: "fec", HostKeys: own.HostKeys}},
	} {
		if got := hostOf(c.service, "kgp2cu02", c.fec); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%+v", got)
		}
	}
}
