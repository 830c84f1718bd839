package announce

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
)

// Mail sends events by SMTP.
type Mail struct {
	Host         string
	Port         int    // 0: 587 with STARTTLS, 465 with implicit TLS, 25 with none
	TLS          string // starttls (also empty), implicit, or none: for a relay on this machine
	CAFile       string // certificates in PEM that the server's may be signed by; empty: those of the machine
	User         string // empty: none is asked for
	PasswordFile string // mode 0600
	From         string
	To           []string
	Secrets      *Secrets
}

// Send sends one message to all recipients.
func (m Mail) Send(ctx context.Context, e Event) error {
	msg, err := m.message(e)
	if err != nil {
		return &Rejected{err.Error()}
	}
	options, err := m.options()
	if err != nil {
		return err
	}
	c, err := mail.NewClient(m.Host, options...)
	if err != nil {
		return &Rejected{err.Error()}
	}
	err = c.DialAndSendWithContext(ctx, msg)
	var refused *mail.SendError
	if errors.As(err, &refused) && !refused.IsTemp() && refused.ErrorCode() >= 500 {
		return &Rejected{err.Error()}
	}
	if err != nil {
		return fmt.Errorf("send mail: %w", err)
	}
	return nil
}

func (m Mail) message(e Event) (*mail.Msg, error) {
	msg := mail.NewMsg()
	if err := errors.Join(msg.From(m.From), msg.To(m.To...)); err != nil {
		return nil, err
	}
	_, domain, _ := strings.Cut(m.From, "@")
	msg.Subject(strings.Join(strings.Fields("[pomona] "+string(e.Severity)+": "+e.headline()), " "))
	msg.SetDateWithValue(e.At)
	msg.SetMessageIDWithValue(e.id() + "@" + strings.Trim(domain, "> ")) // the same when it is sent again
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	text := e.headline() + "\n"
	if e.Text != "" {
		text += "\n" + e.Text + "\n"
	}
	if e.Commit != "" {
		text += "\ncommit " + e.Commit + "\n"
	}
	msg.SetBodyString(mail.TypeTextPlain, text+"at "+e.At.UTC().Format(time.RFC3339)+"\n")
	return msg, nil
}

func (m Mail) options() ([]mail.Option, error) {
	settings := &tls.Config{ServerName: m.Host, MinVersion: tls.VersionTLS12}
	if m.CAFile != "" {
		pem, err := os.ReadFile(m.CAFile)
		if err != nil {
			return nil, err
		}
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &Rejected{fmt.Sprintf("%q holds no certificate", m.CAFile)}
		}
	}
	options := []mail.Option{mail.WithTLSConfig(settings), mail.WithTimeout(30 * time.Second)}
	switch m.TLS {
	case "", "starttls":
		options = append(options, mail.WithTLSPortPolicy(mail.TLSMandatory))
	case "implicit":
		options = append(options, mail.WithSSLPort(false))
	case "none":
		options = append(options, mail.WithTLSPortPolicy(mail.NoTLS))
	default:
		return nil, &Rejected{fmt.Sprintf("unknown tls %q: want starttls, implicit or none", m.TLS)}
	}
	if m.Port != 0 {
		options = append(options, mail.WithPort(m.Port))
	}
	if m.User == "" {
		return options, nil
	}
	password, err := m.Secrets.Read(m.PasswordFile)
	return append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(m.User), mail.WithPassword(password)), err
}
