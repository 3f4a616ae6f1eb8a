package route53test

import (
	"encoding/xml"
	"time"
)

// namespace of every document of API version 2013-04-01.
const namespace = "https://route53.amazonaws.com/doc/2013-04-01/"

// RecordSet is a resource record set in the shape the API speaks. In the zone, Name is lower case, escaped and has its
// trailing dot.
type RecordSet struct {
	Name             string       `xml:"Name"`
	Type             string       `xml:"Type"`
	SetIdentifier    string       `xml:"SetIdentifier,omitempty"`
	Weight           *int64       `xml:"Weight,omitempty"`
	Region           string       `xml:"Region,omitempty"`
	GeoLocation      *GeoLocation `xml:"GeoLocation,omitempty"`
	Failover         string       `xml:"Failover,omitempty"`
	MultiValueAnswer *bool        `xml:"MultiValueAnswer,omitempty"`
	TTL              *int64       `xml:"TTL,omitempty"` // seconds
	Values           Values       `xml:"ResourceRecords,omitempty"`
	AliasTarget      *AliasTarget `xml:"AliasTarget,omitempty"`
	HealthCheckID    string       `xml:"HealthCheckId,omitempty"`
}

// Values are the values of a record set. On the wire each has an element of its own around it, which the path notation
// of encoding/xml cannot say.
type Values []string

type valuesDoc struct {
	Records []struct {
		Value string `xml:"Value"`
	} `xml:"ResourceRecord"`
}

// MarshalXML writes one ResourceRecord for each value.
func (v Values) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	var doc valuesDoc
	for _, s := range v {
		doc.Records = append(doc.Records, struct {
			Value string `xml:"Value"`
		}{s})
	}
	return e.EncodeElement(doc, start)
}

// UnmarshalXML reads what MarshalXML writes.
func (v *Values) UnmarshalXML(d *xml.Decoder, start xml.StartElement) error {
	var doc valuesDoc
	if err := d.DecodeElement(&doc, &start); err != nil {
		return err
	}
	for _, r := range doc.Records {
		*v = append(*v, r.Value)
	}
	return nil
}

// GeoLocation is the key of a geolocation record.
type GeoLocation struct {
	ContinentCode   string `xml:"ContinentCode,omitempty"`
	CountryCode     string `xml:"CountryCode,omitempty"`
	SubdivisionCode string `xml:"SubdivisionCode,omitempty"`
}

// AliasTarget is what an alias record leads to.
type AliasTarget struct {
	HostedZoneID         string `xml:"HostedZoneId"`
	DNSName              string `xml:"DNSName"`
	EvaluateTargetHealth bool   `xml:"EvaluateTargetHealth"`
}

// Change is one entry of a batch.
type Change struct {
	Action string    `xml:"Action"`
	Set    RecordSet `xml:"ResourceRecordSet"`
}

// VPC is a network that may resolve a private zone.
type VPC struct {
	Region string `xml:"VPCRegion"`
	ID     string `xml:"VPCId"`
}

type changeRequest struct {
	XMLName xml.Name `xml:"ChangeResourceRecordSetsRequest"`
	Batch   *struct {
		Comment string   `xml:"Comment"`
		Changes []Change `xml:"Changes>Change"`
	} `xml:"ChangeBatch"`
}

type changeInfo struct {
	ID          string `xml:"Id"`
	Status      string `xml:"Status"`
	SubmittedAt string `xml:"SubmittedAt"`
	Comment     string `xml:"Comment,omitempty"`
}

func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

type changeResponse struct {
	XMLName xml.Name
	NS      string     `xml:"xmlns,attr"`
	Info    changeInfo `xml:"ChangeInfo"`
}

type listResponse struct {
	XMLName        xml.Name    `xml:"ListResourceRecordSetsResponse"`
	NS             string      `xml:"xmlns,attr"`
	Sets           []RecordSet `xml:"ResourceRecordSets>ResourceRecordSet"`
	IsTruncated    bool        `xml:"IsTruncated"`
	NextName       string      `xml:"NextRecordName,omitempty"`
	NextType       string      `xml:"NextRecordType,omitempty"`
	NextIdentifier string      `xml:"NextRecordIdentifier,omitempty"`
	MaxItems       int         `xml:"MaxItems"`
}

type zoneResponse struct {
	XMLName xml.Name `xml:"GetHostedZoneResponse"`
	NS      string   `xml:"xmlns,attr"`
	Zone    struct {
		ID        string `xml:"Id"`
		Name      string `xml:"Name"`
		Reference string `xml:"CallerReference"`
		Config    struct {
			Comment string `xml:"Comment,omitempty"`
			Private bool   `xml:"PrivateZone"`
		} `xml:"Config"`
		Count int `xml:"ResourceRecordSetCount"`
	} `xml:"HostedZone"`
	VPCs []VPC `xml:"VPCs>VPC"`
}

// errorResponse is the general form of an error.
type errorResponse struct {
	XMLName xml.Name `xml:"ErrorResponse"`
	NS      string   `xml:"xmlns,attr"`
	Error   struct {
		Type    string `xml:"Type"`
		Code    string `xml:"Code"`
		Message string `xml:"Message"`
	} `xml:"Error"`
	RequestID string `xml:"RequestId"`
}

// batchResponse is the form of a refused batch.
type batchResponse struct {
	XMLName   xml.Name `xml:"InvalidChangeBatch"`
	NS        string   `xml:"xmlns,attr"`
	Messages  []string `xml:"Messages>Message"`
	RequestID string   `xml:"RequestId"`
}
