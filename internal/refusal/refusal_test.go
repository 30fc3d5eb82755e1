package refusal

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

var errOwn = errors.New("an error of the application")

var kinds = []error{
	ErrNoToken, ErrMalformedRequest, ErrInvalidToken, ErrExpired, ErrRevoked, ErrForbidden, ErrOrigin, ErrUnavailable,
	ErrTooMany,
}

func TestAnErrorOfTheApplicationIsOfFewKinds(t *testing.T) {
	for name, row := range map[string]struct{ err, want error }{
		"one's own":                      {errOwn, ErrForbidden},
		"ErrInvalidToken":                {ErrInvalidToken, ErrInvalidToken},
		"ErrExpired":                     {ErrExpired, ErrExpired},
		"ErrRevoked":                     {ErrRevoked, ErrRevoked},
		"ErrUnavailable":                 {ErrUnavailable, ErrUnavailable},
		"wrapped":                        {fmt.Errorf("%w: %w", errOwn, ErrRevoked), ErrRevoked},
		"a bad token before an outage":   {errors.Join(ErrUnavailable, ErrInvalidToken), ErrInvalidToken},
		"what says more of a bad token":  {errors.Join(ErrInvalidToken, ErrExpired), ErrExpired},
		"ErrNoToken is not its to say":   {ErrNoToken, ErrForbidden},
		"ErrOrigin is not its to say":    {ErrOrigin, ErrForbidden},
		"ErrTooMany is not its to say":   {ErrTooMany, ErrForbidden},
		"ErrMalformedRequest nor either": {ErrMalformedRequest, ErrForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			if got := KindOf(row.err, ErrForbidden); got != row.want {
				t.Errorf("got %v, want %v", got, row.want)
			}
			refused := Checked(row.err)
			if !errors.Is(refused, row.want) || !errors.Is(refused, row.err) {
				t.Errorf("got %v, want %v and its cause", refused, row.want)
			}
		})
	}
}

func TestAResponseIsThatOfTheKindWhateverTheCause(t *testing.T) {
	const invalid, scope = "invalid_token", "insufficient_scope"
	want := map[error]Response{
		ErrNoToken:          {401, true, "", "", 3000, "token_required"},
		ErrMalformedRequest: {400, true, "invalid_request", "", 3000, "invalid_request"},
		ErrInvalidToken:     {401, true, invalid, "", 3000, invalid},
		ErrExpired:          {401, true, invalid, "", 3000, invalid},
		ErrRevoked:          {401, true, invalid, "", 3000, invalid},
		ErrForbidden:        {403, true, scope, "", 3003, scope},
		ErrOrigin:           {403, false, "", "", 3003, "foreign_origin"},
		ErrUnavailable:      {503, false, "", "", 1013, "temporarily_unavailable"},
		ErrTooMany:          {429, false, "", "", 1013, "too_many_connections"},
	}
	for _, kind := range kinds {
		for _, cause := range append(kinds, errOwn, nil) {
			got := ResponseTo(fmt.Errorf("wrapped: %w", New(kind, cause)))
			got.Text = "" // see TestNoTextOfAResponseNeedsQuoting
			if got != want[kind] {
				t.Errorf("%v because of %v: got %+v, want %+v", kind, cause, got, want[kind])
			}
		}
	}
}

func TestWhatIsNoRefusalIsAnInternalError(t *testing.T) {
	for _, err := range []error{nil, errOwn, context.Canceled} {
		want := Response{500, false, "", "internal server error", 1011, "internal_error"}
		if got := ResponseTo(err); got != want {
			t.Errorf("%v: got %+v, want %+v", err, got, want)
		}
	}
}

// RFC 6750 section 3 allows no quote and no backslash in error_description, and RFC 6455 section 5.5 no more than 123
// bytes in the reason of a close frame.
func TestNoTextOfAResponseNeedsQuoting(t *testing.T) {
	for _, kind := range kinds {
		r := ResponseTo(kind)
		for _, text := range []string{r.Text, r.Code, r.Reason} {
			for _, c := range text {
				if c < ' ' || c > '~' || c == '"' || c == '\\' {
					t.Errorf("%v: got %q in %q, want none that has to be quoted", kind, c, text)
				}
			}
		}
		if r.Text == "" || r.Reason == "" || len(r.Reason) > 123 {
			t.Errorf("%v: got the text %q and the reason %q, want both, of at most 123 bytes", kind, r.Text, r.Reason)
		}
	}
}

func TestACauseIsNotTakenForTheAbsenceOfAToken(t *testing.T) {
	for name, row := range map[string]struct {
		err  error
		want bool
	}{
		"no token":                     {New(ErrNoToken, nil), true},
		"no token, wrapped":            {fmt.Errorf("wrapped: %w", New(ErrNoToken, errOwn)), true},
		"an outage because of it":      {New(ErrUnavailable, ErrNoToken), false},
		"a check that says so":         {Checked(ErrNoToken), false},
		"an error of the application":  {ErrNoToken, false},
		"a refusal of another kind":    {New(ErrMalformedRequest, nil), false},
		"a refusal within a refusal":   {New(ErrInvalidToken, New(ErrNoToken, nil)), false},
		"no error":                     {nil, false},
		"what is no refusal in itself": {errOwn, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := IsNoToken(row.err); got != row.want {
				t.Errorf("got %t, want %t", got, row.want)
			}
		})
	}
}

func TestTheTextOfACheckIsForTheApplicationAlone(t *testing.T) {
	for name, row := range map[string]struct {
		err           error
		error, logged string
	}{
		"no cause":      {New(ErrExpired, nil), "wsauth: token expired", "wsauth: token expired"},
		"a cause":       {New(ErrOrigin, errors.New("x")), "wsauth: foreign origin: x", "wsauth: foreign origin: x"},
		"itself":        {New(ErrRevoked, ErrRevoked), "wsauth: token revoked", "wsauth: token revoked"},
		"of a check":    {Checked(errors.New("alice may not")), "wsauth: forbidden: alice may not", "wsauth: forbidden"},
		"a check's own": {Checked(ErrRevoked), "wsauth: token revoked", "wsauth: token revoked"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := row.err.Error(); got != row.error {
				t.Errorf("got the error %q, want %q", got, row.error)
			}
			if got := row.err.(*Error).Logged(); got != row.logged {
				t.Errorf("got logged %q, want %q", got, row.logged)
			}
		})
	}
}

func TestATrailAddsWhatIsNotKnownYet(t *testing.T) {
	err := Trail{Issuer: "issuer", KeyID: "k1"}.On(New(ErrExpired, nil))
	err = Trail{Source: "header", Issuer: "another", KeyID: "k2"}.On(err)
	if got, want := err.(*Error).Trail, (Trail{"header", "issuer", "k1"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := (Trail{Source: "header"}).On(errOwn); got != errOwn {
		t.Errorf("got %v of what is no refusal, want it as it was", got)
	}
}
