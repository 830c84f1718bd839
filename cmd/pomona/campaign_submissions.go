package main

import (
	"context"
	"fmt"
	"net"

	"github.com/pomona-gitops/pomona/reconciler"
	"github.com/pomona-gitops/pomona/reconciler/desired"
	"github.com/pomona-gitops/pomona/reconciler/serve"
)

// jobAPI is where jobs of this root report, if its configuration says so.
func (s *servedRoot) jobAPI(conf *desired.SubmissionAPI) (reconciler.JobAPI, error) {
	if conf == nil || conf.URL == "" {
		return reconciler.JobAPI{}, nil
	}
	secret, err := serve.JobSecret(s.root)
	if err != nil {
		return reconciler.JobAPI{}, err
	}
	return reconciler.JobAPI{URL: conf.URL, Token: func(key string) string { return serve.JobToken(secret, key) }}, nil
}

// serveSubmissions answers the submission API beside passes, if the configuration says where.
func (s *servedRoot) serveSubmissions(conf *desired.SubmissionAPI, c *reconciler.Campaigner) error {
	if conf == nil {
		return nil
	}
	if err := outside(s.path, conf.Tokens); err != nil {
		return fmt.Errorf("read tokens of the submission API: %w", err)
	}
	if err := serve.CheckUsers(conf.Tokens); err != nil {
		return fmt.Errorf("read tokens of the submission API: %w", err)
	}
	secret, err := serve.JobSecret(s.root)
	if err != nil {
		return err
	}
	api := serve.SubmissionAPI{Log: c.Log, TokenFile: conf.Tokens, JobSecret: secret, Submissions: reconciler.CampaignAPI{Campaigner: c}}
	s.beside = append(s.beside, func(ctx context.Context) error {
		l, err := net.Listen("tcp", conf.Listen)
		if err != nil {
			return fmt.Errorf("listen on %q: %w", conf.Listen, err)
		}
		c.Log.Info("answering the submission API", "address", "http://"+l.Addr().String())
		return serve.Run(ctx, l, api.Handler(), serve.Options{Log: c.Log, MaxConnections: 1024})
	})
	return nil
}
