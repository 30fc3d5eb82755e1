package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/wsauth/wsauth"
	"github.com/wsauth/wsauth/internal/bench/cpu"
)

// serverStats is the answer of /stats; sizes are in bytes.
type serverStats struct {
	Goroutines int   `json:"goroutines"`
	Heap       int64 `json:"heap"`  // live objects, after a collection
	InUse      int64 `json:"inUse"` // the spans they are in
	Stack      int64 `json:"stack"`
	RSS        int64 `json:"rss"`
	HWM        int64 `json:"hwm"` // peak RSS

	Open       int64 `json:"open"`
	LastClosed int64 `json:"lastClosed"` // in Unix nanoseconds
	Renewed    int64 `json:"renewed"`

	CPU time.Duration `json:"cpu"` // of the process
}

// add makes s the sum of several servers, and LastClosed the last of theirs.
func (s *serverStats) add(t serverStats) {
	s.Goroutines += t.Goroutines
	s.Heap += t.Heap
	s.InUse += t.InUse
	s.Stack += t.Stack
	s.RSS += t.RSS
	s.HWM += t.HWM
	s.Open += t.Open
	s.LastClosed = max(s.LastClosed, t.LastClosed)
	s.Renewed += t.Renewed
	s.CPU += t.CPU
}

// controlMux has /stats, which collects the garbage first if it is asked to (?gc=1), the profiles, /revoke?sub=… and
// /shutdown?within=….
func controlMux(auth *wsauth.Authenticator, conns *listener) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/stats", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("gc") != "" {
			runtime.GC()
			runtime.GC()
			debug.FreeOSMemory()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		s := serverStats{
			Goroutines: runtime.NumGoroutine(),
			Heap:       int64(m.HeapAlloc), InUse: int64(m.HeapInuse), Stack: int64(m.StackInuse),
			Open: conns.open.Load(), LastClosed: conns.lastClosed.Load(), Renewed: renewed.Load(),
		}
		s.RSS, s.HWM = resident()
		s.CPU, _ = cpu.Time()
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(s)
	})
	mux.HandleFunc("/revoke", func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		if err := auth.Revoke(r.Context(), wsauth.Revocation{Subject: r.FormValue("sub")}); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		json.NewEncoder(w).Encode(revoked{Begun: begun.UnixNano(), Took: time.Since(begun)})
	})
	mux.HandleFunc("/shutdown", func(w http.ResponseWriter, r *http.Request) {
		within, err := time.ParseDuration(r.FormValue("within"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), within)
		defer cancel()
		if err := auth.Shutdown(ctx); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return mux
}

// revoked is the answer of /revoke.
type revoked struct {
	Begun int64 // in Unix nanoseconds
	Took  time.Duration
}

// resident returns what /proc knows; where there is none, zeros.
func resident() (now, peak int64) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kilobytes, _ := strconv.ParseInt(fields[1], 10, 64)
		switch fields[0] {
		case "VmRSS:":
			now = kilobytes << 10
		case "VmHWM:":
			peak = kilobytes << 10
		}
	}
	return now, peak
}
