package main

import (
	"maps"
	"net"
	"slices"
	"strconv"

	"github.com/pomona-gitops/pomona/reconciler/announce"
	"github.com/pomona-gitops/pomona/reconciler/desired"
)

// channelsOf are the ways by which a configuration has people told. Files of secrets are read when they are needed.
func channelsOf(notify map[string]desired.Notifier) (channels []announce.Channel) {
	for _, name := range slices.Sorted(maps.Keys(notify)) {
		n := notify[name]
		route := announce.Route{Sites: n.Sites, Severity: announce.Severity(n.Severity)}
		for _, kind := range n.Events {
			route.Kinds = append(route.Kinds, announce.Kind(kind))
		}
		channels = append(channels, announce.Channel{Name: name, Route: route, Sender: senderOf(n)})
	}
	return channels
}

func senderOf(n desired.Notifier) announce.Sender {
	switch {
	case n.Slack != nil:
		return announce.Slack{URLFile: n.Slack.Address, Secrets: &secrets}
	case n.Webhook != nil:
		return announce.Signed{URL: n.Webhook.URL, SecretFile: n.Webhook.Secret, Secrets: &secrets}
	case n.Alertmanager != nil:
		return announce.Alertmanager{URL: n.Alertmanager.URL, TokenFile: n.Alertmanager.Token, Secrets: &secrets}
	}
	host, port := n.Email.Server, 0
	if h, p, err := net.SplitHostPort(host); err == nil {
		host = h
		port, _ = strconv.Atoi(p) // the schema has seen that it is a number
	}
	return announce.Mail{
		Host: host, Port: port, TLS: n.Email.TLS, CAFile: n.Email.CA, User: n.Email.User, PasswordFile: n.Email.Password,
		From: n.Email.From, To: n.Email.To, Secrets: &secrets,
	}
}
