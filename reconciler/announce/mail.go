package announce

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
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
	Timeout      time.Duration // of each answer; 0: 30 s
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
	var connection net.Conn
	c, err := mail.NewClient(m.Host, append(options, mail.WithDialContextFunc(func(ctx context.Context, network, address string) (net.Conn, error) {
		connection, err = m.dial(ctx, network, address)
		return connection, err
	}))...)
	if err != nil {
		return &Rejected{err.Error()}
	}
	defer func() { // the library leaves one open to which it could not log in
		if connection != nil {
			connection.Close() // it has been, if all went well
		}
	}()
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

// dial connects, with implicit TLS if that is asked for.
func (m Mail) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if m.TLS != "implicit" {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	settings, err := m.tls()
	if err != nil {
		return nil, err
	}
	return (&tls.Dialer{Config: settings}).DialContext(ctx, network, address)
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

func (m Mail) tls() (*tls.Config, error) {
	settings := &tls.Config{ServerName: m.Host, MinVersion: tls.VersionTLS12}
	if m.CAFile == "" {
		return settings, nil
	}
	pem, err := os.ReadFile(m.CAFile)
	if err != nil {
		return nil, err
	}
	settings.RootCAs = x509.NewCertPool()
	if !settings.RootCAs.AppendCertsFromPEM(pem) {
		return nil, &Rejected{fmt.Sprintf("%q holds no certificate", m.CAFile)}
	}
	return settings, nil
}

func (m Mail) options() ([]mail.Option, error) {
	settings, err := m.tls()
	if err != nil {
		return nil, err
	}
	options := []mail.Option{mail.WithTLSConfig(settings), mail.WithTimeout(cmp.Or(m.Timeout, 30*time.Second))}
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
	login := mail.SMTPAuthAutoDiscover
	if m.TLS == "implicit" {
		login = mail.SMTPAuthPlainNoEnc // the library does not see the TLS of our own connection
	}
	return append(options, mail.WithSMTPAuth(login), mail.WithUsername(m.User), mail.WithPassword(password)), err
}
