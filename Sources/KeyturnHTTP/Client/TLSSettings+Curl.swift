import CCurl
import KeyturnCore

extension TLSSettings {
    /// Tells libcurl whom to trust.
    func apply(to handle: UnsafeMutableRawPointer) {
        keyturn_setopt_long(handle, CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2))
        let verifies = !(skipsVerification && allowsInsecure)
        keyturn_setopt_long(handle, CURLOPT_SSL_VERIFYPEER, verifies ? 1 : 0)
        keyturn_setopt_long(handle, CURLOPT_SSL_VERIFYHOST, verifies ? 2 : 0)
        if let caFile { keyturn_setopt_string(handle, CURLOPT_CAINFO, caFile) }
        if let caPEM { blob(handle, CURLOPT_CAINFO_BLOB, caPEM) }
        // Only these, and not the system's besides.
        if caFile != nil || caPEM != nil { keyturn_setopt_string(handle, CURLOPT_CAPATH, nil) }
        if let certificatePEM { blob(handle, CURLOPT_SSLCERT_BLOB, certificatePEM) }
        if let keyPEM { blob(handle, CURLOPT_SSLKEY_BLOB, keyPEM) }
        if let certificateFile { keyturn_setopt_string(handle, CURLOPT_SSLCERT, certificateFile) }
        if let keyFile { keyturn_setopt_string(handle, CURLOPT_SSLKEY, keyFile) }
    }

    private func blob(_ handle: UnsafeMutableRawPointer, _ option: CURLoption, _ text: PEMText) {
        text.value.withUnsafeBytes { _ = keyturn_setopt_blob(handle, option, $0.baseAddress, $0.count) }
    }
}
