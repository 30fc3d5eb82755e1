package credential

import "net/http"

// Hide removes from r whatever could be found at places in the URL, RequestURI, Form and Sec-WebSocket-Protocol,
// whether it is valid or not. r is a shallow copy of the server's request, which does not change.
func Hide(r *http.Request, places []Place) {
	for _, p := range places {
		if p.Source == FromQuery {
			hideParameter(r, p.Name)
		}
	}
	hideProtocols(r, places)
}
