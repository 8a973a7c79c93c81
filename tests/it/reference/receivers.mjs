// Verifies one request with the receiver's own library. Argument: the folder in which those are installed; the
// request comes on standard input as { kind, method, url, headers, body, key }. Prints nothing where it holds,
// and else why not.
import { createRequire } from 'node:module'
import { createHash, createPublicKey } from 'node:crypto'
import { readFileSync } from 'node:fs'

const require = createRequire(`${process.argv[2]}/package.json`)
const { kind, method, url, headers, body, key } = JSON.parse(readFileSync(0, 'utf8'))

const webhook = name => {
  const { Webhook } = require(name)
  new Webhook(key).verify(body, headers)
}

const message = async () => {
  const { httpbis, createVerifier } = require('http-message-signatures')
  const lookup = async ({ keyid }) => {
    if (key.startsWith('whsec_')) {
      return { id: keyid, algs: ['hmac-sha256'], verify: createVerifier(key, 'hmac-sha256') }
    }
    const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), Buffer.from(key, 'base64')])
    const known = createPublicKey({ key: der, format: 'der', type: 'spki' })
    return { id: keyid, algs: ['ed25519'], verify: createVerifier(known, 'ed25519') }
  }
  const requiredFields = ['@method', '@authority', '@path', '@query', 'content-digest']
  const held = await httpbis.verifyMessage({ keyLookup: lookup, requiredFields, requiredParams: ['created', 'keyid'] }, { method, url, headers })
  if (held !== true) throw new Error('the signature does not hold')
  // The library covers the field; whether the field tells the truth is the receiver's to see.
  const digest = `sha-256=:${createHash('sha256').update(body).digest('base64')}:`
  if (headers['content-digest'] !== digest) throw new Error('the digest is of another body')
}

try {
  await (kind === 'http-message-signatures' ? message() : webhook(kind))
} catch (error) {
  console.log(error.message)
}
