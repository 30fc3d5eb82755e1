package wsauth

import "net/http"

// What the fuzz targets and the allocation test reach beyond the public surface.
var (
	Bearer           = bearer
	QueryToken       = queryToken
	Cookie           = cookie
	SubprotocolToken = subprotocolToken
	HideParameter    = hideParameter
	HideProtocol     = hideProtocol
)

func Extract(a *Authenticator, r *http.Request) (token string, err error) {
	c, err := a.policy.extract(r)
	return c.token, err
}
