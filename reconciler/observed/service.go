package observed

import "time"

// Service is how a service is that campaigns need, as it was sampled last.
type Service struct {
	Name string    `json:"name"`
	Well bool      `json:"well"`
	Why  string    `json:"why,omitempty"` // it is not
	At   time.Time `json:"at"`
}
