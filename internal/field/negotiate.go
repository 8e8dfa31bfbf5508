package field

import (
	"strconv"
	"strings"
)

// Weight returns what the lists of Accept-Encoding say about a coding, in
// thousandths: 0 is not at all (RFC 9110 §12.5.3). Of the uncoded one, "identity",
// it is what they say expressly.
func Weight(accept []string, coding string) int {
	others := 0
	for element := range Elements(accept) {
		name, parameters, _ := strings.Cut(element, ";")
		name = TrimSpace(name)
		if equal(name, coding) || coding == "gzip" && equal(name, "x-gzip") {
			return quality(parameters)
		}
		if name == "*" && coding != "identity" {
			others = quality(parameters)
		}
	}
	return others
}

// quality reads a weight (RFC 9110 §12.4.2); one that is not valid is 0.
func quality(parameter string) int {
	parameter = TrimSpace(parameter)
	if parameter == "" {
		return 1000
	}
	name, value, _ := strings.Cut(parameter, "=")
	weight, err := strconv.ParseFloat(TrimSpace(value), 64)
	if !equal(TrimSpace(name), "q") || err != nil || !(weight >= 0 && weight <= 1) {
		return 0
	}
	return int(weight*1000 + 0.5)
}

// MediaType returns a Content-Type in lower case, without its parameters.
func MediaType(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// EventStream is the media type of server-sent events, which are always UTF-8.
const EventStream = "text/event-stream"

// WithCharset adds charset to a text type that names none. One that is empty,
// as in "text/html; charset=", says that there is to be none, and is taken away.
func WithCharset(contentType, charset string) string {
	if bare, none := strings.CutSuffix(contentType, "; charset="); none {
		return bare
	}
	media := MediaType(contentType)
	if !strings.HasPrefix(media, "text/") || media == EventStream || strings.Contains(strings.ToLower(contentType), "charset=") {
		return contentType
	}
	return contentType + "; charset=" + charset
}

// MediaWeight returns what the lists of Accept say about a media type without
// parameters, in thousandths (RFC 9110 §12.5.1), where they name it: "*/*" says
// nothing of what is preferred.
func MediaWeight(accept []string, media string) int {
	kind, _, _ := strings.Cut(media, "/")
	weight, named := 0, false
	for element := range Elements(accept) {
		name, parameters, _ := strings.Cut(element, ";")
		switch name = TrimSpace(name); {
		case equal(name, media):
			weight, named = mediaQuality(parameters), true
		case !named && equal(name, kind+"/*"):
			weight = mediaQuality(parameters)
		}
	}
	return weight
}

// mediaQuality is the weight behind parameters of a media range.
func mediaQuality(parameters string) int {
	for parameters != "" {
		var parameter string
		parameter, parameters, _ = strings.Cut(parameters, ";")
		if name, _, _ := strings.Cut(parameter, "="); equal(TrimSpace(name), "q") {
			return quality(parameter)
		}
	}
	return 1000
}

// PreferredMedia returns the media type that the lists of Accept say most of, and of
// equals the first.
func PreferredMedia(accept []string, types ...string) string {
	best, most := types[0], 0
	for _, media := range types {
		if weight := MediaWeight(accept, media); weight > most {
			best, most = media, weight
		}
	}
	return best
}
