package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/wsauth/wsauth/examples/internal/testclient"
)

func TestTheHandshakeAndTheCloseFramesAreShownWithoutTheToken(t *testing.T) {
	base, _ := serve(t)
	token := logIn(t, base)
	const id = "0123456789abcdef0123456789abcdef"
	for _, row := range []struct {
		name, path string
		header     http.Header
		want       map[string]string // what is in each
	}{
		{
			"a token in the header, closed by the server", "/audit/ws?trace=" + id, testclient.Bearer(token),
			map[string]string{
				"request": "Authorization: Bearer ‹token, ", "answer": "HTTP/1.1 101 Switching Protocols\r\n",
				// 3003, insufficient_scope
				"server": "88140bbb696e73756666696369656e745f73636f7065",
			},
		},
		{
			"a token in the query, closed by the client", "/ws?trace=" + id + "&access_token=" + token, nil,
			map[string]string{"request": "&access_token=‹token, ", "answer": "HTTP/1.1 101 ", "client": "8882"},
		},
		{
			"cookies, of which one is another program's", "/ws?trace=" + id,
			http.Header{"Cookie": {"access_token=" + token + "; session=s3cr3t=; other=x"}},
			map[string]string{"request": " characters›; session=‹7 characters›; other=‹1 characters›\r\n"},
		},
		{
			"refused", "/ws?trace=" + id + "&access_token=" + token[:len(token)-4] + "AAAA", nil,
			map[string]string{"request": "GET /ws?trace=" + id, "answer": "HTTP/1.1 401 Unauthorized\r\n"},
		},
		{
			"a ticket that has no meaning here", "/ws?trace=" + id + "&ticket=abc-def_123", nil,
			map[string]string{"request": "&ticket=‹11 characters› HTTP/1.1\r\n"},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			http.DefaultClient.CloseIdleConnections() // a browser has none for a WebSocket
			conn, _ := testclient.Dial(t, base+row.path, row.header)
			if conn != nil {
				exchange(testclient.Context(t), conn)
				conn.Close(1000, "")
			}
			resp, err := http.Get(base + "/wire/" + id)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var got map[string]string
			if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
				t.Fatal(err)
			}
			for part, want := range row.want {
				if !strings.Contains(got[part], want) {
					t.Errorf("got %s %q, want %q in it", part, got[part], want)
				}
			}
			if strings.Contains(got["request"], "eyJ") || strings.Contains(got["request"], "s3cr3t") {
				t.Errorf("the token is shown: %q", got["request"])
			}
		})
	}
}

func TestOnlyTheNewestConnectionsAreRemembered(t *testing.T) {
	w := newWire()
	for i := range maxTraces + 1 {
		w.remember(strings.Repeat("a", i), &trace{})
	}
	if w.traces[""] != nil || len(w.traces) != maxTraces || len(w.order) != maxTraces {
		t.Errorf("got %d traces, want %d without the first", len(w.traces), maxTraces)
	}
}

func TestCloseFramesAreFoundBehindOtherFrames(t *testing.T) {
	masked := func(first, size byte) string { return string([]byte{first, 0x80 | size, 1, 2, 3, 4}) }
	const head = "GET / HTTP/1.1\r\n\r\n"
	for _, row := range []struct{ name, frames, want string }{
		{"alone", "\x88\x02\x03\xe8", "\x88\x02\x03\xe8"},
		{"without a code", "\x88\x00", "\x88\x00"},
		{"masked", masked(0x88, 2) + "ab", masked(0x88, 2) + "ab"},
		{"behind a message", "\x81\x03\x88\x02\x88" + "\x88\x02\x03\xe8", "\x88\x02\x03\xe8"},
		{"behind an empty one", "\x81\x00" + "\x88\x00", "\x88\x00"},
		{"behind 126 bytes", "\x82\x7e\x00\x7e" + strings.Repeat("\x88", 126) + "\x88\x00", "\x88\x00"},
		{
			"behind 65536 bytes, masked",
			"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00abcd" + strings.Repeat("\x88", 65536) + "\x88\x00", "\x88\x00",
		},
		{"before others", "\x88\x00\x88\x01", "\x88\x00"},
		{"longer than a close frame may be", "\x88\x7e\x00\x02\x88\x00", ""},
		{"not complete", "\x88\x02\x03", ""},
		{"none", "\x81\x02\x88\x00", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			var whole, bytewise direction
			whole.add([]byte(head + row.frames))
			for _, b := range []byte(head + row.frames) {
				bytewise.add([]byte{b})
			}
			if got := string(whole.closing); got != row.want {
				t.Errorf("at once: got % x, want % x", got, row.want)
			}
			if got := string(bytewise.closing); got != row.want || string(bytewise.head) != head {
				t.Errorf("by bytes: got % x, want % x", got, row.want)
			}
		})
	}
}

func TestAHeadWithoutAnEndIsNotKept(t *testing.T) {
	var d direction
	for range 100 {
		d.add([]byte(strings.Repeat("x", 4096)))
	}
	if len(d.head) > maxHead+4096 {
		t.Errorf("got %d bytes, want at most %d", len(d.head), maxHead+4096)
	}
}
