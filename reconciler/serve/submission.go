package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pomona-gitops/pomona/reconciler/observed"
)

// Submissions knows of campaigns and their submissions, and takes what agents, tools and jobs say of them. What it returns is sent
// as JSON. Its errors are ErrNoSuch, ErrConflict, ErrMalformed or ErrForbidden, as errors.Is has it, if it is not its own fault.
type Submissions interface {
	// Campaigns are all that there are.
	Campaigns(ctx context.Context) (any, error)
	// Campaign is one, as pomona campaign NAME shows it.
	Campaign(ctx context.Context, name string) (any, error)
	// Submissions are those that a query asks for, by key.
	Submissions(ctx context.Context, q SubmissionQuery) (any, error)
	// Submission is one with its history.
	Submission(ctx context.Context, key string) (any, error)
	// Say takes a word about a submission, and returns the submission as it is then. What plan.Believes does not believe is a conflict.
	Say(ctx context.Context, w SubmissionWord) (any, error)
	// SayInputs takes what a job has done with inputs of its slice.
	SayInputs(ctx context.Context, w InputWords) (any, error)
	// Slices are those of a campaign that a query asks for, in the order of stages, epochs and ids.
	Slices(ctx context.Context, q SliceQuery) (any, error)
	// Order carries out what an operator wants done about a campaign, with the guards of the socket.
	Order(ctx context.Context, o Order) (any, error)
	// AddSlice plans a slice of a stage whose split is external. The same one again changes nothing; another one of its id is a conflict.
	AddSlice(ctx context.Context, s ExternalSlice) (any, error)
	// EndSlices has no more slices come of such a stage, as somebody says. Once more changes nothing.
	EndSlices(ctx context.Context, campaign, stage, by string) (any, error)
}

// Why something is not answered or taken.
var (
	ErrNoSuch    = errors.New("there is none")
	ErrConflict  = errors.New("it does not go with what is known")
	ErrMalformed = errors.New("malformed")
	ErrForbidden = errors.New("not allowed")
)

// SubmissionQuery says which submissions somebody wants. What is empty does not matter.
type SubmissionQuery struct {
	Campaign, Stage, Slice string
	State                  observed.SubmissionState
	After                  string // key of the last one of the page before
	Limit                  int    // at most, 1 to MaxPage
}

// MaxPage is how many submissions one answer holds at most; defaultPage, if the query does not say.
const (
	MaxPage     = 1000
	defaultPage = 100
)

// SubmissionWord is what somebody says of a submission.
type SubmissionWord struct {
	Key                       string
	State                     observed.SubmissionState
	Job, Node, Detail         string // empty: nothing is said
	Exit, Signal              int
	CPU                       time.Duration
	Memory                    int64 // bytes
	By                        string
	Operator                  bool // may say that it is lost
	FromJob                   bool // it has the token of this very submission
	At                        time.Time
	hasExit, hasCPU, hasBytes bool
}

// InputWords is what a job has done with inputs.
type InputWords struct {
	Key    string // of its submission
	Inputs map[string]observed.InputState
	By     string
	At     time.Time
}

// ExternalSlice is a slice that somebody else than Pomona has made.
type ExternalSlice struct {
	Campaign, Stage, ID, Label string
	Inputs                     []string
	Params                     map[string]string
	By                         string
}

const (
	maxWord   = 8 << 10 // bytes of a form
	maxInputs = 8 << 20 // bytes of the inputs of a slice
	atOnce    = 32      // requests that are answered at once; more are told to come back
)

var (
	submissionKey = regexp.MustCompile(`^pom-[a-z0-9]{26}$`)
	batchName     = regexp.MustCompile(`^[a-z][a-z0-9._-]{0,62}$`)                              // schema/names.cue, #Name
	sliceID       = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,62}$`)                            // of an external slice
	runName       = regexp.MustCompile(`^[a-z][a-z0-9._-]{0,62}(/[a-z0-9][a-z0-9._-]{0,62})?$`) // of a campaign, or NAME/RUN
	paramName     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)                         // schema/campaign.cue, #ParamName
)

// SubmissionAPI is how tools, agents and jobs ask and report. It belongs on a listener of its own.
type SubmissionAPI struct {
	Log *slog.Logger
	// TokenFile holds a line for each user: NAME TOKEN ROLE. It is read anew for each request.
	TokenFile string
	// JobSecret makes the tokens of jobs; without it they have none.
	JobSecret   []byte
	Submissions Submissions
	Now         func() time.Time // nil: time.Now
}

// Handler answers below /v1/.
func (a SubmissionAPI) Handler() http.Handler {
	if a.Log == nil {
		a.Log = slog.New(slog.DiscardHandler)
	}
	if a.Now == nil {
		a.Now = time.Now
	}
	s := &submissions{SubmissionAPI: a, slots: make(chan struct{}, atOnce)}
	s.holder("") // logs what is wrong with the file
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/campaigns", s.as(roleRead, s.campaigns))
	mux.HandleFunc("GET /v1/campaigns/{campaign}", s.as(roleRead, s.campaign))
	mux.HandleFunc("GET /v1/campaigns/{campaign}/slices", s.as(roleRead, s.slices))
	for _, do := range []string{"test", "retry", "cancel", "accept"} {
		mux.HandleFunc("POST /v1/campaigns/{campaign}/"+do, s.as(roleOperate, func(r *http.Request, who caller) (any, error) { return s.order(r, who, do) }))
	}
	mux.HandleFunc("GET /v1/submissions", s.as(roleRead, s.list))
	mux.HandleFunc("GET /v1/submissions/{key}", s.as(roleRead, s.show))
	mux.HandleFunc("POST /v1/submissions/{key}", s.as(roleReport, s.say))
	mux.HandleFunc("POST /v1/submissions/{key}/inputs", s.as(roleReport, s.sayInputs))
	mux.HandleFunc("POST /v1/campaigns/{campaign}/stages/{stage}/slices/{slice}", s.as(roleReport, s.addSlice))
	mux.HandleFunc("POST /v1/campaigns/{campaign}/stages/{stage}/end", s.as(roleReport, s.endSlices))
	return inJSON(mux)
}

// inJSON answers as the rest of the API where a mux has no handler for a request: there is no such path, or not by that method.
func inJSON(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h, pattern := mux.Handler(r); pattern == "" {
			s := statusOnly{w.Header(), http.StatusNotFound}
			h.ServeHTTP(&s, r)
			text := map[int]string{http.StatusNotFound: "there is no such path", http.StatusMethodNotAllowed: "there is no such method here: " + w.Header().Get("Allow")}[s.status]
			sendJSON(w, s.status, wrong{text})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// statusOnly takes what somebody answers, but for the body.
type statusOnly struct {
	header http.Header
	status int
}

// Header implements http.ResponseWriter.
func (s *statusOnly) Header() http.Header { return s.header }

// WriteHeader implements http.ResponseWriter.
func (s *statusOnly) WriteHeader(status int) { s.status = status }

// Write implements http.ResponseWriter.
func (s *statusOnly) Write(b []byte) (int, error) { return len(b), nil }

// submissions is SubmissionAPI at work.
type submissions struct {
	SubmissionAPI
	slots chan struct{}
	rate  rate

	mu      sync.Mutex
	trouble trouble // with the file of tokens
}

// as answers who has at least a role, or is the job of the submission, a bounded number at once.
func (s *submissions) as(least role, answer func(*http.Request, caller) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		// Only a ResponseWriter without a connection refuses, and that has nothing to wait for.
		_ = http.NewResponseController(w).SetReadDeadline(s.Now().Add(10 * time.Second))
		r.Body = http.MaxBytesReader(w, r.Body, maxInputs)
		who, status := s.admit(r, least)
		if status != 0 {
			s.deny(w, r, status)
			return
		}
		if key := r.PathValue("key"); key != "" && !submissionKey.MatchString(key) {
			s.send(w, r, nil, fmt.Errorf("%w key %q: want pom- and 26 small letters and digits", ErrMalformed, printable(key)))
			return
		}
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		default:
			s.deny(w, r, http.StatusServiceUnavailable)
			return
		}
		found, err := answer(r, who)
		s.send(w, r, found, err)
	}
}

// deny answers who may not, or must come back.
func (s *submissions) deny(w http.ResponseWriter, r *http.Request, status int) {
	text := map[int]string{
		http.StatusUnauthorized:       "no token: send Authorization: Bearer TOKEN",
		http.StatusForbidden:          "the role of this token does not allow that",
		http.StatusTooManyRequests:    "too many requests: come back later",
		http.StatusServiceUnavailable: "too many requests at once: come back later",
	}[status]
	switch status {
	case http.StatusUnauthorized:
		if bearer(r) != "" {
			text = "nobody has this token: it is none of the users', and none of the job of this submission"
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="pomona"`)
		s.Log.Warn("refused request: no valid token", "path", r.URL.Path, "from", remote(r))
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "5")
	}
	w.Header().Set("Connection", "close") // what the client is about to send is not read
	sendJSON(w, status, wrong{text})
}

// wrong is the body of an answer that is none.
type wrong struct {
	Error string `json:"error"`
}

// send answers with what was found, or why nothing was.
func (s *submissions) send(w http.ResponseWriter, r *http.Request, found any, err error) {
	var long *http.MaxBytesError
	switch {
	case err == nil:
		sendJSON(w, http.StatusOK, found)
	case errors.As(err, &long):
		w.Header().Set("Connection", "close")
		sendJSON(w, http.StatusRequestEntityTooLarge, wrong{fmt.Sprintf("the body has more than %d bytes", long.Limit)})
	case errors.Is(err, ErrMalformed):
		sendJSON(w, http.StatusBadRequest, wrong{err.Error()})
	case errors.Is(err, ErrForbidden):
		sendJSON(w, http.StatusForbidden, wrong{err.Error()})
	case errors.Is(err, ErrNoSuch):
		sendJSON(w, http.StatusNotFound, wrong{err.Error()})
	case errors.Is(err, ErrConflict):
		sendJSON(w, http.StatusConflict, wrong{err.Error()})
	default:
		s.Log.Error("answered no request", "path", r.URL.Path, "err", err)
		sendJSON(w, http.StatusInternalServerError, wrong{"the service could not do that: its log says why"})
	}
}

func sendJSON(w http.ResponseWriter, status int, value any) {
	b, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error": "no JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // the client has gone, and the server closes the connection
}

func (s *submissions) campaigns(r *http.Request, _ caller) (any, error) {
	return s.Submissions.Campaigns(r.Context())
}

func (s *submissions) campaign(r *http.Request, _ caller) (any, error) {
	name, err := pathWord(r, "campaign", runName)
	if err != nil {
		return nil, err
	}
	return s.Submissions.Campaign(r.Context(), name)
}

// pathWord is a part of the path, if it looks as it should.
func pathWord(r *http.Request, name string, form *regexp.Regexp) (string, error) {
	word := r.PathValue(name)
	if !form.MatchString(word) {
		return "", fmt.Errorf("%w %s %q", ErrMalformed, name, word)
	}
	return word, nil
}

func (s *submissions) list(r *http.Request, _ caller) (any, error) {
	v, limit, err := query(r, "campaign", "stage", "slice", "state", "after", "limit")
	if err != nil {
		return nil, err
	}
	q := SubmissionQuery{Campaign: v["campaign"], Stage: v["stage"], Slice: v["slice"], State: observed.SubmissionState(v["state"]), After: v["after"], Limit: limit}
	if q.State != "" && !slices.Contains(observed.SubmissionStates, q.State) {
		return nil, fmt.Errorf("%w state %q: want one of %s", ErrMalformed, q.State, strings.Join(stateNames(), ", "))
	}
	return s.Submissions.Submissions(r.Context(), q)
}

func (s *submissions) show(r *http.Request, _ caller) (any, error) {
	return s.Submissions.Submission(r.Context(), r.PathValue("key"))
}

// say takes a form: state, and as far as they are known job, node, detail, exit, signal, cpu (seconds) and memory (bytes).
func (s *submissions) say(r *http.Request, who caller) (any, error) {
	b, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxWord))
	if err != nil {
		return nil, err
	}
	word, err := parseWord(string(b))
	if err != nil {
		return nil, err
	}
	word.Key, word.By, word.Operator, word.FromJob, word.At = r.PathValue("key"), who.name, who.role == roleOperate, who.role == roleJob, s.Now().UTC()
	if word.FromJob && word.State != observed.SubmissionRunning {
		return nil, fmt.Errorf("%w: a job may only say that it is running: how it ends its batch system tells", ErrConflict)
	}
	now, err := s.Submissions.Say(r.Context(), word)
	if err == nil {
		s.Log.Info("took word on submission", "key", word.Key, "state", string(word.State), "detail", word.Detail, "by", word.By, "from", remote(r))
	}
	return now, err
}

// parseWord reads a form. Unknown fields are refused: a misspelt one would be lost.
func parseWord(form string) (w SubmissionWord, err error) {
	v, err := url.ParseQuery(form)
	if err != nil {
		return w, fmt.Errorf("%w form", ErrMalformed)
	}
	number := func(text string, most int64) int64 {
		n, e := strconv.ParseInt(text, 10, 64)
		if e != nil || n < 0 || n > most {
			err = fmt.Errorf("%w number %q: want 0 to %d", ErrMalformed, text, most)
		}
		return n
	}
	for name, values := range v {
		if len(values) > 1 {
			return w, fmt.Errorf("%w form: more than one %s", ErrMalformed, name)
		}
		switch text := values[0]; name {
		case "state":
			w.State = observed.SubmissionState(text)
		case "job":
			w.Job = printable(text)
		case "node":
			w.Node = printable(text)
		case "detail":
			w.Detail = printable(text)
		case "exit":
			w.Exit, w.hasExit = int(number(text, 255)), true
		case "signal":
			w.Signal, w.hasExit = int(number(text, 64)), true
		case "cpu":
			w.CPU, w.hasCPU = time.Duration(number(text, 1<<32))*time.Second, true
		case "memory":
			w.Memory, w.hasBytes = number(text, 1<<60), true
		default:
			return w, fmt.Errorf("%w form: unknown %q; there are state, job, node, detail, exit, signal, cpu and memory", ErrMalformed, printable(name))
		}
	}
	if err == nil && !slices.Contains(observed.SubmissionStates, w.State) {
		err = fmt.Errorf("%w state %q: want one of %s", ErrMalformed, printable(string(w.State)), strings.Join(stateNames(), ", "))
	}
	return w, err
}

// Over is a submission as it is once the word is believed.
func (w SubmissionWord) Over(s observed.Submission) observed.Submission {
	if s.State != w.State {
		s.State = w.State
		switch {
		case w.State == observed.SubmissionRunning && s.Began.IsZero():
			s.Began = w.At
		case w.State.Ended():
			s.Ended = w.At
		}
	}
	for _, t := range []struct {
		to   *string
		said string
	}{{&s.Job, w.Job}, {&s.Node, w.Node}, {&s.Detail, w.Detail}} {
		if t.said != "" {
			*t.to = t.said
		}
	}
	if w.hasExit {
		s.Exit, s.Signal = w.Exit, w.Signal
	}
	if w.hasCPU {
		s.CPU = w.CPU
	}
	if w.hasBytes {
		s.Memory = w.Memory
	}
	return s
}

// sayInputs takes a line for each input: delivered, consumed or failed, a blank and its name.
func (s *submissions) sayInputs(r *http.Request, who caller) (any, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	w := InputWords{Key: r.PathValue("key"), Inputs: map[string]observed.InputState{}, By: who.name, At: s.Now().UTC()}
	for line := range strings.Lines(string(b)) {
		state, name, ok := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		switch said := observed.InputState(state); {
		case state == "" && !ok:
		case !ok || name == "" || said != observed.InputDelivered && said != observed.InputConsumed && said != observed.InputFailed:
			return nil, fmt.Errorf("%w line %q: want delivered, consumed or failed, a blank and the name of an input", ErrMalformed, printable(line))
		default:
			w.Inputs[name] = said
		}
	}
	return s.Submissions.SayInputs(r.Context(), w)
}

func stateNames() (names []string) {
	for _, s := range observed.SubmissionStates {
		names = append(names, string(s))
	}
	return names
}

// addSlice takes names of inputs, one in a line; label and params.NAME are in the query.
func (s *submissions) addSlice(r *http.Request, who caller) (any, error) {
	slice := ExternalSlice{By: who.name, Params: map[string]string{}}
	var errs [3]error
	slice.Campaign, errs[0] = pathWord(r, "campaign", runName)
	slice.Stage, errs[1] = pathWord(r, "stage", batchName)
	slice.ID, errs[2] = pathWord(r, "slice", sliceID)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	if strings.HasPrefix(slice.ID, "test-") {
		return nil, fmt.Errorf("%w slice %q: those that begin with test- are of test launches", ErrMalformed, slice.ID)
	}
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("%w query", ErrMalformed)
	}
	for name, values := range v {
		param, isParam := strings.CutPrefix(name, "params.")
		switch {
		case len(values) > 1:
			return nil, fmt.Errorf("%w query: more than one %s", ErrMalformed, printable(name))
		case name == "label":
			slice.Label = printable(values[0])
		case isParam && paramName.MatchString(param):
			slice.Params[param] = printable(values[0])
		default:
			return nil, fmt.Errorf("%w query: unknown %q; there are label and params.NAME", ErrMalformed, printable(name))
		}
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if slice.Inputs, err = inputNames(string(b)); err != nil {
		return nil, err
	}
	found, err := s.Submissions.AddSlice(r.Context(), slice)
	if err == nil {
		s.Log.Info("took slice", "campaign", slice.Campaign, "stage", slice.Stage, "slice", slice.ID, "inputs", len(slice.Inputs), "by", slice.By, "from", remote(r))
	}
	return found, err
}

// endSlices takes the word that no more slices come.
func (s *submissions) endSlices(r *http.Request, who caller) (any, error) {
	campaign, err := pathWord(r, "campaign", runName)
	if err != nil {
		return nil, err
	}
	stage, err := pathWord(r, "stage", batchName)
	if err != nil {
		return nil, err
	}
	now, err := s.Submissions.EndSlices(r.Context(), campaign, stage, who.name)
	if err == nil {
		s.Log.Info("no more slices come", "campaign", campaign, "stage", stage, "by", who.name, "from", remote(r))
	}
	return now, err
}

// inputNames are the lines of a text that are not empty: names as schema/campaign.cue's #InputName has them, none twice.
func inputNames(text string) (names []string, err error) {
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		name := strings.TrimRight(line, "\r\n")
		switch {
		case name == "":
			continue
		case strings.TrimSpace(name) != name || len(name) > 1000 || printable(name) != name:
			return nil, fmt.Errorf("%w name %q", ErrMalformed, printable(name))
		case seen[name]:
			return nil, fmt.Errorf("%w names: %q is there twice", ErrMalformed, name)
		}
		seen[name] = true
		names = append(names, name)
	}
	return names, nil
}
