import CCurl

extension TLSSettings {
    /// Tells libcurl whom to trust.
    func apply(to handle: UnsafeMutableRawPointer) {
        keyturn_setopt_long(handle, CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2))
        keyturn_setopt_long(handle, CURLOPT_SSL_VERIFYPEER, 1)
        keyturn_setopt_long(handle, CURLOPT_SSL_VERIFYHOST, 2)
        if let caFile {
            keyturn_setopt_string(handle, CURLOPT_CAINFO, caFile)
            // Only these, and not the system's besides.
            keyturn_setopt_string(handle, CURLOPT_CAPATH, nil)
        }
        if let certificateFile { keyturn_setopt_string(handle, CURLOPT_SSLCERT, certificateFile) }
        if let keyFile { keyturn_setopt_string(handle, CURLOPT_SSLKEY, keyFile) }
    }
}
