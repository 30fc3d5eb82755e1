package jose

import (
	"strings"
	"testing"
)

// Proofs that other software has made, most from the tests of other projects, with the verdict that these demand. What a
// server checks besides, such as the time and the URL, is not part of the verdict.
var foreignProofs = []struct {
	source, name string
	refused      string // the beginning of the error; empty: it is accepted
	method, url  string
	key          string // its thumbprint, where the project says it, or has it as the jkt of a token
	text         string
}{
	{
		source: "RFC 9449 section 5", name: "a refreshed token",
		method: "POST", url: "https://server.example.com/token",
		key: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
		text: "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZ" +
			"OXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIs" +
			"ImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmV" +
			"yLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjY1Mjk2fQ.pAqut2IRDm_De6PR93SYmGBPXpwrAk90e8cP2hjiaG5QsGSu" +
			"KDYW7_X620BxqhvYC8ynrrvZLTk41mSRroapUA",
	},
	{
		source: "AxisCommunications/go-dpop, parse_test.go", name: "ES384",
		method: "POST", url: "https://server.example.com/token",
		text: "eyJhbGciOiJFUzM4NCIsInR5cCI6ImRwb3Arand0IiwiandrIjp7Imt0eSI6IkVDIiwiY3J2IjoiUC0zODQiLCJ4IjoiSFpIaURj" +
			"ejQ0YkFNMVF3RG95bGhOUFBQb3VDdDJZbkRnOHk5ZXRBeUc1Ry1vY28zSEQ0M3JwazVZUW41cGdZaSIsInkiOiJ0UmlvSTY2TUFD" +
			"V2x1NDVIWlN2TUdBV0xJTWxXdW9SdktPWGw0OUpGam9sRGtiTWs3cV9PWnFzSFJlMnhjcTNYIn19.eyJpYXQiOjE2ODYxNDY5MTE" +
			"sImp0aSI6InhfNVJGUHpZT3BmU24yWlhSNmFSdHA3alZWQmVSbXI4VTRZLXBHbUpWb2siLCJodG0iOiJQT1NUIiwiaHR1IjoiaHR" +
			"0cHM6Ly9zZXJ2ZXIuZXhhbXBsZS5jb20vdG9rZW4ifQ.xJVZXG69LbP1vXwI6NmpN4OkE9F3VNTHhZ5Or_tprZTU3GEVrao62DuF" +
			"9jopyCjFIcq2UhHNRjubgG8XLcTGDEeLXB4UmDoAqgBColO679oaEz_uUdz-ThTDBSohPMeF",
	},
	{
		source: "AxisCommunications/go-dpop, parse_test.go", name: "ES512",
		method: "POST", url: "https://server.example.com/token",
		text: "eyJhbGciOiJFUzUxMiIsInR5cCI6ImRwb3Arand0IiwiandrIjp7Imt0eSI6IkVDIiwiY3J2IjoiUC01MjEiLCJ4IjoiQVNlNUZU" +
			"S3FlaUpQdHU5eVA2Z0pOLXZDbVhrQU9vbW1Hd0V2blRqR2JGaTlwUUJRQ3kyRFFuUS1kMWdYVENJdnhRRGVDdUdzLUF4Q1ZYc1V6" +
			"cHUwU3ExXyIsInkiOiJBZmgySU5GMWRnaTlFR0VseDFqYlVtZEx6Q0F0M21pNGhobkIwMTJVWkU0SjhEdV9uOEpfQ1VxSGZIeHNP" +
			"eWhSYU1oS2VHREhkRll5YjNuMFhpckFMT3ZJIn19.eyJpYXQiOjE2ODYxNDY5NTAsImp0aSI6IllzcVl1ZUh4UlpYYjZ4dkdRdUJ" +
			"mRGtDdVlxMFJEajNxN1RKMWtoWHlza2ciLCJodG0iOiJQT1NUIiwiaHR1IjoiaHR0cHM6Ly9zZXJ2ZXIuZXhhbXBsZS5jb20vdG9" +
			"rZW4ifQ.AV-4ecrtReVhkKq-un0ghWpBhNnatuIqXmKvjlXKcor8_pAHlo9sLU6cbPUuw1SZdSZzwDqweNnpetjC5knae887AN3C" +
			"ZlfQwD2jrMd9kwCp-JEkq_dGLX1yqUc6Qt_XFe5vTSf_0ducHxh3lcnri-DqGrZAFC2GH3qUgatCNF8z8QjM",
	},
	{
		source: "AxisCommunications/go-dpop, parse_test.go", name: "RS256",
		method: "POST", url: "https://server.example.com/token",
		text: "eyJhbGciOiJSUzI1NiIsInR5cCI6ImRwb3Arand0IiwiandrIjp7Imt0eSI6IlJTQSIsImUiOiJBUUFCIiwibiI6Im9OakUxRXh5" +
			"ZlV0Q2c1Y1RiQWRVOG9IdHZPQUNobnlyRVJkR2RMM0szQkpKcDBmWXFEYzN0MFlESjhLeDFJMUpnbks0VzFEQlNGbVgtVHJ4WExC" +
			"WUk0c1FiZVdVcGFPRlNxSGZ5clpRQnA5UWRkTXNQaTlkRi0wNHNlajNpWUlyV2tUY3RkcERLWE8taGMxM01uVVdPLURkS3RYbnFr" +
			"U0R4VGoxX0RNdEw5cXpRRXJiSW1UTS1zZGpBcHpFQWVCbzJDNmphbW1vcGNRWUxlY0FKMmlUdjhfUk80Q3lIX0hvTEd5SXp2YTRM" +
			"OHFiMGtsRXpZd2VrelN4QVhXYUswbGtXNHo5YXR5czg1REY4ajlaajJzX0UwZEdDdzRaRmhqNmpIQ1hjYS1ubDNab2dmcXpPV0l6" +
			"dHlwbERCNjRBa1h1VUdWVmNZVFlJZlY0MHJVbWQ1Q2hKUSJ9fQ.eyJpYXQiOjE2ODYxNDc2MjQsImp0aSI6IkFFU3pDOUNnckRPa" +
			"zRvZFl3Y3VVSWdkU1dvaTlXVGRzVzFzdlF4dzd6NTQiLCJodG0iOiJQT1NUIiwiaHR1IjoiaHR0cHM6Ly9zZXJ2ZXIuZXhhbXBsZ" +
			"S5jb20vdG9rZW4ifQ.TXFcaC16MC0PGxqlDSMqWLkYbLauEDMeGB1whPazPVxqDoRKanacS111vWk4Vel-Z6vyMEev78It-7Vv2W" +
			"P5djWp_xWsFXvhVQkUTMsHPnF4Qt_yTFJywW-WNVLfveFOQMNfaNrW0k7_8Zo5cE53_lnXwszGtmS_dhEBz5vJnMwyCZGPjC1M3M" +
			"Knv-xCzJ1xJoGmpxIdRLbnCdAhuWdj1sw6SI-l68Af0NQpI4LJyfSWICtFzShytbVGw3UIzADg32Cl8xDVCiPCmb4oNTDokDkRAc" +
			"4cz0mP2AlDqvtGaVX1-bW-GabqbxYFYeNfO7UjGKqB6oKeNOD0dAEj6pIOKw",
	},
	{
		source: "AxisCommunications/go-dpop, parse_test.go", name: "PS256",
		method: "POST", url: "https://server.example.com/token",
		text: "eyJhbGciOiJQUzI1NiIsInR5cCI6ImRwb3Arand0IiwiandrIjp7Imt0eSI6IlJTQSIsImUiOiJBUUFCIiwibiI6InlRUHlNVXl0" +
			"X19YYUo1UUZCQVRJYV9DeWxMLUsyTjRuWkl3RnFaNUVtdkhvbS1oRW9LeXVFa1h4LTFxZ29UV0VBdEh2dUYzTEV4NkttUl92SlJM" +
			"a0dSdFNjSXVoamFKVVRXOFYwaGdUN2tjUUR6N3cybzR2R3NkQ3ZMZU1za19JS2dOb21oZGJjS1d2VjJzdjBvU2RaWVBsVWZxMlht" +
			"SnZ0cGh6b1piTVJlNFdRcVZBTUJBSktlYTdOamVoVGhhN1A5T1VPdDJMM0t0dzFwQTZZTmdNUkJobmpwN255VEtvejRvczNaVUdN" +
			"LVM2Q3pLR0puNHdReEpock5tWHRJenRFWHl0ZWsyRlhpWGVGODFkbVBISHhOZjZZU18tSU1QSFF4dXVTdVpQM3RuZ0U5ZF9WNV9t" +
			"TFI5QmsycGdEakJ1cl9wei1WWV8zdk4yMnE5Tk5DRE16dyJ9fQ.eyJpYXQiOjE4OTM0NTI0MDAsImp0aSI6ImpPSk1OaGVrTlZma" +
			"0ttSXQtcU1scm1PQm5qUHQ4dlRxVXljWl84MWlCRE0iLCJodG0iOiJQT1NUIiwiaHR1IjoiaHR0cHM6Ly9zZXJ2ZXIuZXhhbXBsZ" +
			"S5jb20vdG9rZW4ifQ.D4VD2VseUyCu7gPzeQJduGtHBsz3EygfqrfScSfccpL7fSo0-eVaCfI7gWW9usbynqOKIrMqU9kqlMQj4t" +
			"XKCN7rHxHiHQcjSdDvnMDeKrS22fp6kSfQQJtcb7bQxQZXvKzkCoqruJBvDSTgScNwW2CNcI9VhNQRtoWyXnf0ijZnDeX9uWeaD_" +
			"rG1wE3hT8cnOmyKfNal1X4MLz30-rRBDmwl-ubdPIC87uvJSnUlhoRjioBXMNg1pXGowO1tDUO-TDeh-7kJEIlb9uhOJq3NiTNdj" +
			"b5iDw-IuSzwZSc4mp7pYtMAEs8Amuypcoc3DzmwVjE56nDvuzWrBf2XMu0jg",
	},
	{
		source: "AxisCommunications/go-dpop, parse_test.go", name: "Ed25519",
		method: "POST", url: "https://server.example.com/token",
		text: "eyJhbGciOiJFZERTQSIsInR5cCI6ImRwb3Arand0IiwiandrIjp7Imt0eSI6Ik9LUCIsImNydiI6IkVkMjU1MTkiLCJ4IjoiV0Jf" +
			"dEFJOXhBYVYxQnBBTm83MGdQdXFxYmFXdUd4Yjc4RWs4ckFndGdoTSJ9fQ.eyJpYXQiOjE2ODYyMDQ5OTcsImp0aSI6ImkxbFlVR" +
			"EVKVnhKbFNXQ1J3RFdqeDNpX0NfbHI5YkU5akY4M2pNNVg0c2MiLCJodG0iOiJQT1NUIiwiaHR1IjoiaHR0cHM6Ly9zZXJ2ZXIuZ" +
			"XhhbXBsZS5jb20vdG9rZW4ifQ.KuJM02onLlKasjyEIsJkFMvHhwurdowJseV3JQ-8e4cwVfB0GsGLF8PAmV6PallVj9oLd9ek-T" +
			"79l5j2jIFkBw",
	},
	{
		source: "AxisCommunications/go-dpop, parse_test.go", name: "a coordinate with a leading zero",
		method: "POST", url: "https://server.example.com/token",
		key: "MEhdRysfC6YMBxMtlBzyLwTWHmLLusOkEh_ofH9GPjs",
		text: "eyJhbGciOiJFUzI1NiIsInR5cCI6ImRwb3Arand0IiwiandrIjp7Imt0eSI6IkVDIiwieCI6IkFCYjNFYXJRMEhMY2NGeUZtVC1T" +
			"ZUw0TktnMTdQZThzeENaZVlFbG1EVG8iLCJ5IjoiNWtIUWh6ZThWN2ZIdE1tYk82N0tiQ3NOdFRWaERPRlpUTTBZV3RTZUZFOCIs" +
			"ImNydiI6IlAtMjU2In19.eyJpYXQiOjE3MzIwODc2MDYsImp0aSI6IjJmYWJhYTYxLWU1MWEtNGNjYy05ZjA0LTg1NjRkMzA1N2U" +
			"xMCIsImh0bSI6IlBPU1QiLCJodHUiOiJodHRwczovL3NlcnZlci5leGFtcGxlLmNvbS90b2tlbiIsImF0aCI6IlR0aDhubVZaT09" +
			"UbVhqRDZDQkl5YVhOQ1pzb3hlUWdxNFZpaEdQTnNMdXMifQ.8RygRxPPK5M3gxtqarXCTvSBt5djhZ0b_0JD5U1ZwmCUflSk7nt5" +
			"g_ilkWDZf2xflWuZhgeIFvkuazaLSKJuXw",
	},
	{
		source: "AxisCommunications/go-dpop, parse_test.go", name: "signed in the future",
		method: "POST", url: "https://server.example.com/token",
		text: "eyJhbGciOiJFUzI1NiIsInR5cCI6ImRwb3Arand0IiwiandrIjp7Imt0eSI6IkVDIiwiY3J2IjoiUC0yNTYiLCJ4IjoiaDdpRFh0" +
			"ZEIxQ3RIc1lZcThBc3RaWkpyamhYYVB1RUljSkllRWhuaWk2VSIsInkiOiJmandBSDNBY3dWMGFKblVSVE9kOHlGU09wU09SLTBj" +
			"bnhPYzhXWFhsbU93In19.eyJpYXQiOjE4OTM0NTI0MDAsImp0aSI6IjcxX2FXLTN6TW5zNkRjdU5aT1FVZS15M2FOclYtRFo2WVJ" +
			"lQ0tRRTBGLTgiLCJodG0iOiJQT1NUIiwiaHR1IjoiaHR0cHM6Ly9zZXJ2ZXIuZXhhbXBsZS5jb20vdG9rZW4ifQ.DGp-Eqhqr3cI" +
			"Cf_C66auqLvyv51tmY7fAyVhsPnrGurCGGHE8jdU5QbrZnhqMeLj3K9PLWIeoxOsdr7fySB_zw",
	},
	{
		source: "AxisCommunications/go-dpop, parse_test.go", name: "a signature that is wrong",
		refused: "the signature is not valid",
		text: "eyJhbGciOiJFUzI1NiIsInR5cCI6ImRwb3Arand0IiwiandrIjp7Imt0eSI6IkVDIiwiY3J2IjoiUC0yNTYiLCJ4IjoiNENaRmpE" +
			"b1R0a3owbURiUzF0MERoSUp4Tk1JMk9LeVNxejlESTNieW1OUSIsInkiOiJoUUlTRGxWTGw4amtEa2toUjZ6RmJfU3BvdlBkSWZ1" +
			"ZVNkdkZvQTRlaFd3In19.eyJpYXQiOjE2ODYxNDc1NTMsImp0aSI6ImNTQU1aTkVlaGM0b1BCMnd4UXRneGtFaUFHaHdsSmRTTEt" +
			"VOTFsVFZNMWciLCJodG0iOiJQT1NUIiwiaHR1IjoiaHR0cHM6Ly9zZXJ2ZXIuZXhhbXBsZS5jb20vdG9rZW4ifQ.HztSUtcKbwJu" +
			"4M27-TXG6CPOHVFZMJvpHiORlGKcHsDJBKwKtkJBtwP0WBM18YwMr_Z-xhV04Ow-kb6dc0pCGw",
	},
	{
		source: "AxisCommunications/go-dpop, parse_test.go", name: "no typ",
		refused: "typ:",
		text: "eyJhbGciOiJFUzI1NiIsImp3ayI6eyJrdHkiOiJFQyIsImNydiI6IlAtMjU2IiwieCI6IlB1dnJLVXRYaHRWVEdfc2RGUE5yR3ZD" +
			"NTZpWUV0VEt6bDhnSGtBbzdMa1kiLCJ5Ijoib2RiM2J2Y1p2bnhzbTJHMXp6M01fX1A2TW5ScjdqTVZycXFUUXdHdUxtRSJ9fQ.e" +
			"yJpYXQiOjE2ODYxNDc2ODMsImp0aSI6IlNZemdKNlhyZWYzdUozSGZqYkJlZWRSVHJiSzlFZnBGUHBRZUIzd1ZCR1EiLCJodG0iO" +
			"iJQT1NUIiwiaHR1IjoiaHR0cHM6Ly9zZXJ2ZXIuZXhhbXBsZS5jb20vdG9rZW4ifQ.e3jBxBk1xrMtzubb2151xpBcur7felFkKm" +
			"M55yQNNwkdzl7ZZbWeI8CwI3hASnzdTfB5GwsmnfRlcLToLyzUjA",
	},
	{
		source: "AxisCommunications/go-dpop, parse_test.go", name: "iat is the only claim",
		refused: "jti:",
		text: "eyJhbGciOiJFUzI1NiIsInR5cCI6ImRwb3Arand0IiwiandrIjp7Imt0eSI6IkVDIiwiY3J2IjoiUC0yNTYiLCJ4IjoiZkhLUWxj" +
			"RzFieGFtUWpUdlB1QlFRWVh3c0ZHV1BkLXROQUcyc2hDM09MOCIsInkiOiJFV01LTkhIZWRJWHhQa0ZBUjEtRWxvYUxuLUhSbzRU" +
			"ZzZ1dWcwMlgxcnFVIn19.eyJpYXQiOjE2ODYxNDc3MzZ9.8_ATzwnK6As9Fy52yLqW2MKeveGXkZ5vY5GCJGSPkHKfIhjaH6g0Dy" +
			"UT8Gl31rHtxfz8mr-LxOgjEqTwbgPshQ",
	},
	{
		source: "AxisCommunications/go-dpop, parse_test.go", name: "a jwk that is a string",
		refused: "jwk:",
		text: "eyJhbGciOiJFUzI1NiIsInR5cCI6ImRwb3Arand0IiwiandrIjoiZXJyb3IifQ.eyJpYXQiOjE2ODYxNDY0ODcsImp0aSI6InBYV" +
			"0xGcXRzRjI4ZTBhNm52Y25zUHZ4bWZtV1o4VDRUZEhka3g3QUkxaFUiLCJodG0iOiJQT1NUIiwiaHR1IjoiaHR0cHM6Ly9zZXJ2Z" +
			"XIuZXhhbXBsZS5jb20vdG9rZW4ifQ.zwy1MgdrqXVQ4BHr7GaWPKAwBSJvmjHZ1p9K3bYu94pz22Ai17Op6G2HF4T0bC8Hxk0aqs" +
			"GDBSjgNvGBkQXA5w",
	},
	{
		source: "AxisCommunications/go-dpop, parse_test.go", name: "no jwk",
		refused: "jwk:",
		text: "eyJhbGciOiJFUzI1NiIsInR5cCI6ImRwb3Arand0In0.eyJpYXQiOjE2ODYxNDc4MzMsImp0aSI6IlRIaF82Sml3RWNFMEk4NFVG" +
			"MVNPX3hOc09IY2pld29WcVpHUHhodmcycUUiLCJodG0iOiJQT1NUIiwiaHR1IjoiaHR0cHM6Ly9zZXJ2ZXIuZXhhbXBsZS5jb20v" +
			"dG9rZW4ifQ.XlZ2VbVx4qPwuuJrUHTZG5Bm7KKRGjwcdWBWuOiYdrdvEIR3W62bB2xqI9QqSU6XoyjTlb6DfY1865UDnGzbQA",
	},
	{
		source: "AxisCommunications/go-dpop, parse_test.go", name: "HS256",
		refused: "alg:",
		text: "eyJhbGciOiJIUzI1NiIsInR5cCI6ImRwb3Arand0IiwiandrIjp7Imt0eSI6Im9jdCIsImtpZCI6IjBhZmVlMTQyLWEwYWYtNDQx" +
			"MC1hYmNjLTlmMmQ0NGZmNDViNSIsImFsZyI6IkhTMjU2IiwiayI6IkZkRllGekVSd0MydUNCQjQ2cFpRaTRHRzg1THVqUjhvYnQt" +
			"S1dSQklDVlEifX0.eyJpYXQiOjE4OTM0NTI0MDAsImp0aSI6IlZ2cTdTMTZBUUwwVEkzdWZiSWFabEtYS0FkdjU0dkVhQ3JyVjJU" +
			"a0lBbDQiLCJodG0iOiJQT1NUIiwiaHR1IjoiaHR0cHM6Ly9zZXJ2ZXIuZXhhbXBsZS5jb20vdG9rZW4ifQ.UEIBBDOkv_NberiIX" +
			"0w4TiHnwOCQ5XXXidXdyv8JjpA",
	},
	{
		source: "AxisCommunications/go-dpop, parse_test.go", name: "neither jti nor iat",
		refused: "jti:",
		text: "eyJhbGciOiJSUzI1NiIsImp3ayI6eyJlIjoiQVFBQiIsIm4iOiIwRDhoZXV0NEo1SFdYUHFYTHl2T21zaU5hVFNhVFhPZmkxanBU" +
			"V2JHTWs4bElQaXBqVXBxcjAtQ0pVT2drNEs0bW9naGUxX1FJTjFqbFBWZVg3WXh2UzNiYjRXMFh1bzZLOEFjREFKSjlIZE1PVWtH" +
			"dGdiSEcxTkloTEVoR1NJMjZWcU52cjN5VXJqSG1qSHJIc1o1MUZYTVBiU09DZWdqVHlnOGtJVWtxbUNEUTB4ek42WlVQVzhocHNy" +
			"WU10SlBtZ1N5U0lRaWlYWnFUYUF1UTdhdHJxWGF1dU1SSFQyMWlta2h6UE9SbFl2SkhwWk1rdkhkbjVqNlpOVlBoLVE1MEZ4QkdK" +
			"RmRkZEtmM05xbW9nWG9td0dLSzZvV042S1pIU2ZuM2tuUjNieW1abWZvMHdEeUVTQ1dtQzI2RGx0ejRlTXdyTTU2VWNPNUNpWlBR" +
			"Wm1ZclEiLCJrdHkiOiJSU0EifSwidHlwIjoiZHBvcCtqd3QifQ.eyJodG0iOiJQT1NUIiwiaHR1IjoiaHR0cHM6Ly9teXVybC5jb" +
			"20vd2hhdGV2ZXIifQ.mKo299nmZG1eCGRIf-CWXqrSTGO3vRUdvSAOHGsejw3COAHuGNfWq8hPLQ2iR4QI1UQkR0g95HsTbAEeWS" +
			"Z9TSBzl5aLN0QO-fQUfs0l3ohW7wyQF-yJ9aMZjCMBUPP6kD7MPaJqwD_E1EQr6RHHQrCOR60BjZSQEiteiWocMPl-jJpN-OgsmP" +
			"e9fy3hOaaf0oX2CUiwUJW9sIsVIwkMK6NE9sJMMsE6P-qUhgBki_sK1TOK7xT9AMaihybYHM4gkBswi4gFTwIdCQtd7Nl_MVIliA" +
			"xJrc5HwuBZeL-DLzK7yZlpovJAlrrhnE1FP6RwmthiGPktEqwITAVabMkBrA",
	},
	{
		source: "OpenIDC/liboauth2, its tests", name: "for a resource, RS256",
		method: "GET", url: "https://localhost.zmartzone.eu/api/",
		text: "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IlJTMjU2IiwiandrIjp7Imt0eSI6IlJTQSIsImUiOiJBUUFCIiwibiI6InJiOXZ5ekFJ" +
			"aVFqQUVFdGFTZnJnU2NSVHotVnNEZ2hpb1Z2ajNJNnlZbHJ2TFdaNHFWdEtzUDNQU3Z4dTNVejdWTWRwVFEyODc5WlRGVWh0LV9C" +
			"c3M1NHNtOUdJTTZQVGRZY3VDN3dOMHR2N2JHMDNsVGdOUFdvcmZrMzRhSVk1NHh1Tmo5SHNBVnJKRG1NWklWTnBOUGZabXcwcDVh" +
			"eFBVQ19OTEw4YVhUeDJnWFZFV3V4dGNXSjFzbzFHVE5pbXZPMXM1eklTaDZvTXlDVFRhQ1N2el9DYWVwektTeXZfc00yWk9YVkhU" +
			"VzZ2SEM4Q0tMY2VwT1NFLWx0UXV3TUF6MWxEU0szQ0hURFRTMVNzdEpVMklKamhobnFwVVgzVHNxQ0E5em9PQlk4aXVRd3hCTDBi" +
			"cFl4T0dVZ21oNXU0Sm90bFlzZkU0T3FMdG1ueGJuSzdydyJ9fQ.eyJqdGkiOiIrSmJDS3hrazFUNXQ4bys1IiwiaHRtIjoiR0VUI" +
			"iwiaHR1IjoiaHR0cHM6Ly9sb2NhbGhvc3Quem1hcnR6b25lLmV1L2FwaS8iLCJpYXQiOjE2OTk0NDUyNjMsImF0aCI6Ikd6TkR1S" +
			"1poVHd5dHppN09rd3VXMjhwQ0xTb0paZ2xmN1pNRG94SGQ2dkkifQ.K-xn9siYFnhi3y5gejKwwIEzD2uKmmtfqV0XDbHh7JZ2RN" +
			"QJfBNpyiEhSUT5dXc5AY8hRzUyWmi4cmE0yW97FKphZdbeumFBGuLiTyMQNVTUWdjMOS7-uWV27bZXj-KaI3C9c_mNHjsuW_Ax5L" +
			"SK35u8Iw_A25EXrJhezzAP74chiKJN1pw3eq_2EZlUF-ihz7Y045sW56EBf-4SCJUfOhGnrb7rHg3KXMiOcSdEnzFiaTSYOozlMZ" +
			"xFvY-VnaqksBZ17-mGMSi7K_9QdBac7ick7OQ7VecYittd5nmnvrRaGytJdJYOSfB5HDPtoaXFNGj24yaJan3IOr2Hbg2t8A",
	},
	{
		source: "danielburger1337/oauth2-dpop-php, tests/Loader/WebTokenFrameworkDPoPTokenLoaderTest.php", name: "a private key",
		refused: "jwk:",
		text: "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwiY3J2IjoiUC0yNTYiLCJkIjoicW00T2My" +
			"M1JSMmVBQnB4aHZiU1hLT2NGRmtDQXFYcE5GWV81U2FUZDRScyIsIngiOiJXVUNZNTh1WEZIY2VTNE9ycVlFUzV1UFJTSm8tNWs4" +
			"UGljS3ZubEZEYlo0IiwieSI6IlVaMjhWd3FfS0FRTVNkdDh6WnBoSzhtWXRPNTFRbkdSNTFiZnJVUEJqOWcifX0.eyJpYXQiOjE3" +
			"MDg5NTY4MjYsImF0aCI6IjEyMyIsIm5vbmNlIjoiYWJjIn0.mpUwGWjSii80WuIAu9mN6pILfBD7FZv4vBDMU3Bap4agMFbHf27y" +
			"jA_-Ab5zfsf2-ZgR8es-ZuI1D212z0PjBQ",
	},
	{
		source: "a client of the Nimbus OAuth SDK, whose JSON escapes slashes", name: "escaped slashes",
		method: "POST", url: "https://localhost/webapps/c2id/token",
		key: "ORw9cLwrCSZs3O5jAeeCgF88own_1UOiwNn7KLTwgTg",
		text: "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IlJTMjU2IiwiandrIjp7Imt0eSI6IlJTQSIsImUiOiJBUUFCIiwia2lkIjoiQSIsIm4i" +
			"OiJwTEhkS3ZSb2prS2tlc3lyRloxYkhOcHpjeEZVbFBndndUbDNQUjF0TmwyX2xMVkFpLTNFUEswR3YzTW5abkRMd2F6RkxkNEs0" +
			"NmR4OVFkSzFlNXZUY0hXLUVfczNsNEFCLVBvVHgyaHA2V0F4aEtNVXFyUXN3VVpwaC1tbWVFeXh4QjhmQkJpNlFuaUN6VzVjXzMt" +
			"Rmt6cFExekpRanZjVzE5VUxGWmN3dTlWdzUxSUJqcDdMeFVsUFQ5UExudU5FdGc3cDF2M1NjWW0zUkh5TjE4Zkp6UTVKbHBuNlhB" +
			"ZGR5VjlDWTR1RWZUd0ZJQWljWWtZanVfMlRNRUdQSnlRZ2t0Smkyc3VzU3lmV19aT1dVQk5WMVlmYUtVYXVDQXBNOTZQbjZiakN1" +
			"aFR1SmxMUFluaWV2NUJ4dmpDVVZNZVNsaTZ4QWVTREZmQ3R2YW9wbF9YdVEifX0.eyJodG0iOiJQT1NUIiwiaHR1IjoiaHR0cHM6" +
			"XC9cL2xvY2FsaG9zdFwvd2ViYXBwc1wvYzJpZFwvdG9rZW4iLCJpYXQiOjE3MDI3NzE0NjUsImp0aSI6IktYZ3l3LWdPd1BLQU9l" +
			"WDMifQ.B-QjA2mBUiTjJ1Bb_eNwKDMCJzDNKwyi_qpl7dO_uaxeOOcmzTfdKp_tQqcvAyjbDFfEjtCe3sBUTzSsmYLtDNRxyXwpa" +
			"iRatgCq0GHSZa0SSy2aECJQAXvPOkTZEXIGi_hbcCwgG2OLaSdBhU3vMcMRQnsBY8BMn8EOIWPFaRcXeCenfxFBkwl9ot-d2Q3bU" +
			"WntBFAx7dWbcP9YORCJcgnXvQb5H4SVyci5ZadEkNl4w6z8xYQ5xl2fIpydsPvGWPPfQpvX8IBMnKeXM-JcvmmKtRktzuEhAd3zF" +
			"P3YUhkQfKUulDqonvzSdJfHUk3se1eoO0g-tzkk4qiEGT-02g",
	},
}

func TestProofsOfOtherSoftwareAreJudgedAsItsTestsDemand(t *testing.T) {
	for _, row := range foreignProofs {
		t.Run(row.source+": "+row.name, func(t *testing.T) {
			got, err := readProof(row.text)
			if row.refused != "" {
				if err == nil || !strings.HasPrefix(err.Error(), row.refused) {
					t.Errorf("got %v, want an error that begins with %q", err, row.refused)
				}
				return
			}
			if err != nil || got.Method != row.method || got.URL != row.url || row.key != "" && got.Key != row.key {
				t.Errorf("got %+v, %v, want a proof for %s %s of the key %s", got, err, row.method, row.url, row.key)
			}
		})
	}
}
