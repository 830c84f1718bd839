// Package webhook receives what forges push: a delivery is limited, verified, parsed, and handed on as an Event.
//
//	limits.allow → bodies.read → secrets.prove → parse → allowlist → Replay → Act
//
// Nothing of a delivery is looked at before its signature is right, and even then it is only a hint: whoever gets an Event
// fetches, and believes what git says. An unknown event is acknowledged and ignored.
//
// Repository content and deliveries are hostile input, and so is a flood of them: memory is bounded, senders that have
// proved themselves have a share of their own, and secrets never appear in logs.
package webhook
