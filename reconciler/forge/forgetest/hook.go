package forgetest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AddHook adds a webhook of an address to the repository. With a secret, deliveries are sent there.
func (f *GitHub) AddHook(url string, secret ...string) {
	h := f.d.like("hook-items", Object{"id": f.id()})
	h["config"].(Object)["url"] = url
	f.Hooks = append(f.Hooks, h)
	if len(secret) > 0 {
		f.secrets[url] = secret[0]
	}
}

// AddDelivery lists a delivery that was never sent.
func (f *GitHub) AddDelivery(guid, event string, code int, at time.Time, repository any) Object {
	d := f.d.like("hook-delivery-items", Object{"id": f.id(), "guid": guid, "event": event, "status_code": code, "delivered_at": at.Format(time.RFC3339), "repository_id": repository})
	f.Sent = append([]Object{d}, f.Sent...)
	return d
}

// Push tells the webhooks that a branch has moved, and gives the answer's status; 0: nobody answered.
func (f *GitHub) Push(branch, before, after string) int {
	return f.Deliver("push", Object{"ref": "refs/heads/" + branch, "before": before, "after": after})
}

// TellPull tells the webhooks what happened to a pull request: opened, synchronize, closed and so on.
func (f *GitHub) TellPull(action string, number int) int {
	f.mu.Lock()
	p := f.pull(number)
	end := func(name string) Object {
		e := p[name].(Object)
		id, fullName := e["repo"].(Object)["id"], f.options.Repository
		if fmt.Sprint(id) != strconv.Itoa(RepositoryID) {
			fullName = "somebody/else"
		}
		return Object{"ref": e["ref"], "sha": e["sha"], "repo": Object{"id": id, "full_name": fullName}}
	}
	payload := Object{"action": action, "number": number, "pull_request": Object{
		"draft": p["draft"], "merged": p["merged_at"] != nil && p["state"] == "closed", "head": end("head"), "base": end("base"), "user": Object{"login": p["user"].(Object)["login"]},
	}}
	f.mu.Unlock()
	return f.Deliver("pull_request", payload)
}

// TellGroup tells the webhooks that a merge queue wants a combination checked.
func (f *GitHub) TellGroup(branch, head string) int {
	return f.Deliver("merge_group", Object{"action": "checks_requested", "merge_group": Object{"head_sha": head, "base_ref": "refs/heads/" + branch}})
}

// Deliver sends an event of the repository to its webhooks, lists the deliveries, and gives the last answer's status.
func (f *GitHub) Deliver(event string, payload Object) (code int) {
	f.mu.Lock()
	payload["repository"] = Object{"id": RepositoryID, "full_name": f.options.Repository}
	body, err := json.Marshal(payload)
	if err != nil {
		panic(err)
	}
	guid := fmt.Sprintf("guid-%d", f.id())
	f.bodies[guid] = body
	f.mu.Unlock()
	return f.send(guid, event)
}

// send makes one attempt at a delivery.
func (f *GitHub) send(guid, event string) (code int) {
	f.mu.Lock()
	body, secrets := f.bodies[guid], f.secrets
	f.mu.Unlock()
	for url, secret := range secrets {
		code = post(url, secret, guid, event, body)
		f.Do(func() { f.AddDelivery(guid, event, code, time.Now(), RepositoryID) })
	}
	return code
}

// post delivers as GitHub does.
func post(url, secret, guid, event string, body []byte) (code int) {
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Github-Event", event)
	req.Header.Set("X-Github-Delivery", guid)
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	res.Body.Close() // the status is enough
	return res.StatusCode
}

func (f *GitHub) hookRoutes(on on) {
	on("GET REPO/hooks", func(w http.ResponseWriter, r *http.Request) { f.page(w, r, nil, f.Hooks) })
	list := func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		from, _ := strconv.Atoi(strings.TrimPrefix(q.Get("cursor"), "v1_"))
		to := min(from+100, len(f.Sent))
		if to < len(f.Sent) {
			q.Set("cursor", fmt.Sprintf("v1_%d", to))
			w.Header().Set("Link", fmt.Sprintf(`<https://%s%s?%s>; rel="next"`, r.Host, r.URL.Path, q.Encode()))
		}
		Answer(w, 200, append([]Object{}, f.Sent[from:to]...))
	}
	again := func(w http.ResponseWriter, r *http.Request) {
		f.Again = append(f.Again, r.PathValue("d"))
		i := slices.IndexFunc(f.Sent, func(d Object) bool { return fmt.Sprint(d["id"]) == r.PathValue("d") })
		if i >= 0 && f.bodies[text(f.Sent[i]["guid"])] != nil {
			go f.send(text(f.Sent[i]["guid"]), text(f.Sent[i]["event"]))
		}
		Answer(w, 202, Object{})
	}
	on("GET REPO/hooks/{id}/deliveries", list)
	on("POST REPO/hooks/{id}/deliveries/{d}/attempts", again)
	on("GET /app/hook/deliveries", list)
	on("POST /app/hook/deliveries/{d}/attempts", again)
}
