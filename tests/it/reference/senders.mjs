// Signs one delivery for each sender with the sender's own library. Arguments: the folder in which those are
// installed, and the time in Unix seconds. Prints one JSON array of { name, target, fields, signed, body }.
import { createRequire } from 'node:module'
import { createHash, createHmac, createPrivateKey, sign } from 'node:crypto'

const [folder, now] = [process.argv[2], Number(process.argv[3])]
const require = createRequire(`${folder}/package.json`)
const secret = 'a-secret-that-is-long-enough'
const standardSecret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
const json = body => JSON.stringify(body)
const deliveries = []
const add = (name, target, fields, body) => deliveries.push({ name, target, fields, body })

{
  const { Webhook } = require('standardwebhooks')
  const body = json({ type: 'user.created', id: 'standard' })
  const signature = new Webhook(standardSecret).sign('msg_1', new Date(now * 1000), body)
  add('standard-webhooks', '/standard', { 'webhook-id': 'msg_1', 'webhook-timestamp': `${now}`, 'webhook-signature': signature }, body)
}
{
  const { Webhook } = require('svix')
  const body = json({ type: 'user.created', id: 'svix' })
  const signature = new Webhook(standardSecret).sign('msg_2', new Date(now * 1000), body)
  add('standard-webhooks', '/standard', { 'svix-id': 'msg_2', 'svix-timestamp': `${now}`, 'svix-signature': signature }, body)
}
{
  const Stripe = require('stripe')
  const body = json({ id: 'evt_1', object: 'event' })
  const stripe = new (Stripe.default ?? Stripe)('sk_test_none')
  const header = stripe.webhooks.generateTestHeaderString({ payload: body, secret, timestamp: now })
  add('stripe', '/stripe', { 'stripe-signature': header }, body)
}
{
  const { sign: octokit } = await import(`file://${folder}/node_modules/@octokit/webhooks-methods/dist-node/index.js`)
  const body = json({ action: 'opened', number: 1 })
  add('github', '/github', { 'x-hub-signature-256': await octokit(secret, body), 'x-github-event': 'pull_request' }, body)
}
{
  // Slack publishes no signer: signed by its document, and held against its own verifier.
  const { verifySlackRequest } = require('@slack/bolt')
  const body = json({ type: 'event_callback', event_id: 'Ev1' })
  const signature = 'v0=' + createHmac('sha256', secret).update(`v0:${now}:${body}`).digest('hex')
  const headers = { 'x-slack-signature': signature, 'x-slack-request-timestamp': now }
  verifySlackRequest({ signingSecret: secret, body, headers, nowMilliseconds: now * 1000 })
  add('slack', '/slack', { 'x-slack-signature': signature, 'x-slack-request-timestamp': `${now}` }, body)
}
{
  const twilio = require('twilio')
  const params = { CallSid: 'CA1', From: '15558675309', Digits: ['2', '1'] }
  const signature = twilio.getExpectedTwilioSignature(secret, 'https://hooks.example.com/twilio?a=1', params)
  add('twilio', '/twilio?a=1', { 'x-twilio-signature': signature, 'content-type': 'application/x-www-form-urlencoded' }, 'Digits=2&From=15558675309&CallSid=CA1&Digits=1')
  const body = json({ call: 1 })
  const target = `/twilio?bodySHA256=${twilio.getExpectedBodyHash(body)}`
  const url = `https://hooks.example.com${target}`
  add('twilio', target, { 'x-twilio-signature': twilio.getExpectedTwilioSignature(secret, url, {}), 'content-type': 'application/json' }, body)
}
{
  // These three publish no signer; the vectors and their documents are what there is.
  const body = json({ id: 820982911, email: 'jon@example.com' })
  add('shopify', '/shopify', { 'x-shopify-hmac-sha256': createHmac('sha256', secret).update(body).digest('base64') }, body)
  const update = json({ update_id: 1, message: { text: 'hello' } })
  add('telegram', '/telegram', { 'x-telegram-bot-api-secret-token': secret }, update)
  const seed = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, 7)])
  const key = createPrivateKey({ key: seed, format: 'der', type: 'pkcs8' })
  const interaction = json({ type: 2, id: '1' })
  add('discord', '/discord', { 'x-signature-ed25519': sign(null, Buffer.from(now + interaction), key).toString('hex'), 'x-signature-timestamp': `${now}` }, interaction)
  add('generic-hmac', '/generic?x=1', { 'x-signature': 'v=' + createHmac('sha512', secret).update(`POST:/generic:${now}:${body}`).digest('base64url'), 'x-time': `${now}` }, body)
}
{
  const { httpbis, createSigner } = require('http-message-signatures')
  const body = json({ order: 1 })
  const digest = 'sha-256=:' + createHash('sha256').update(body).digest('base64') + ':'
  const seed = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, 7)])
  const key = createSigner(createPrivateKey({ key: seed, format: 'der', type: 'pkcs8' }), 'ed25519', 'partner-1')
  const shared = createSigner(secret, 'hmac-sha256', 'partner-2')
  for (const signer of [key, shared]) {
    const message = await httpbis.signMessage({
      key: signer, name: 'sig1', fields: ['@method', '@authority', '@path', '@query', 'content-digest'],
      paramValues: { created: new Date(now * 1000) }
    }, { method: 'POST', url: 'https://hooks.example.com/http?a=1', headers: { 'content-digest': digest } })
    const fields = Object.fromEntries(Object.entries(message.headers).map(([name, value]) => [name.toLowerCase(), String(value)]))
    add('http-signatures', '/http?a=1', fields, body)
  }
}
console.log(json(deliveries))
