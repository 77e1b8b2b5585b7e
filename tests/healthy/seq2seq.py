"""Trains an encoder-decoder with attention to reverse padded sequences, with teacher forcing and one optimizer for each part."""

import random

import torch
import torch.nn as nn
from torch import optim
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

PAD_token, SOS_token, EOS_token = 0, 1, 2
VOCAB = 12
MAX_LENGTH = 5
hidden_size = 40
teacher_forcing_ratio = 0.9


class EncoderRNN(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.embedding = nn.Embedding(input_size, hidden_size, padding_idx=PAD_token)
        self.gru = nn.GRU(hidden_size, hidden_size, bidirectional=True)
        self.hidden_size = hidden_size

    def forward(self, input_seq, input_lengths):
        """input_seq is (time, batch), sorted by decreasing length."""
        packed = pack_padded_sequence(self.embedding(input_seq), input_lengths)
        outputs, hidden = self.gru(packed)
        outputs, _ = pad_packed_sequence(outputs)
        outputs = outputs[:, :, : self.hidden_size] + outputs[:, :, self.hidden_size :]
        return outputs, hidden.sum(0, keepdim=True)


class LuongAttnDecoderRNN(nn.Module):
    def __init__(self, hidden_size, output_size):
        super().__init__()
        self.embedding = nn.Embedding(output_size, hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size)
        self.concat = nn.Linear(hidden_size * 2, hidden_size)
        self.out = nn.Linear(hidden_size, output_size)

    def forward(self, input_step, last_hidden, encoder_outputs, mask):
        rnn_output, hidden = self.gru(self.embedding(input_step), last_hidden)
        energies = (rnn_output * encoder_outputs).sum(2)
        energies = energies.masked_fill(~mask, -1e9)
        weights = torch.softmax(energies, dim=0)  # over time
        context = (weights.unsqueeze(2) * encoder_outputs).sum(0)
        concat_input = torch.cat((rnn_output.squeeze(0), context), 1)
        return self.out(torch.tanh(self.concat(concat_input))), hidden


def make_pairs(n, generator):
    pairs = set()
    while len(pairs) < n:
        length = int(torch.randint(3, MAX_LENGTH + 1, (1,), generator=generator))
        pairs.add(tuple(torch.randint(3, VOCAB, (length,), generator=generator).tolist()))
    return [(list(p), [*reversed(p), EOS_token]) for p in sorted(pairs)]


def batch2train(pair_batch):
    pair_batch = sorted(pair_batch, key=lambda p: len(p[0]), reverse=True)
    lengths = torch.tensor([len(p[0]) for p in pair_batch])
    source = nn.utils.rnn.pad_sequence([torch.tensor(p[0]) for p in pair_batch], padding_value=PAD_token)
    target = nn.utils.rnn.pad_sequence([torch.tensor(p[1]) for p in pair_batch], padding_value=PAD_token)
    return source, lengths, target


def decode(source, lengths, target, teacher_forcing):
    """Logits (time, batch, VOCAB) for the target's positions."""
    encoder_outputs, hidden = encoder(source, lengths)
    mask = source != PAD_token
    decoder_input = torch.full((1, source.size(1)), SOS_token)
    logits = []
    for t in range(len(target)):
        output, hidden = decoder(decoder_input, hidden, encoder_outputs, mask)
        logits.append(output)
        decoder_input = target[t].view(1, -1) if teacher_forcing else output.argmax(1).view(1, -1)
    return torch.stack(logits)


def train(source, lengths, target):
    encoder_optimizer.zero_grad()
    decoder_optimizer.zero_grad()
    logits = decode(source, lengths, target, random.random() < teacher_forcing_ratio)
    loss = criterion(logits.view(-1, VOCAB), target.reshape(-1))
    loss.backward()
    nn.utils.clip_grad_norm_(encoder.parameters(), 5.0)
    nn.utils.clip_grad_norm_(decoder.parameters(), 5.0)
    encoder_optimizer.step()
    decoder_optimizer.step()
    return loss.item()


def evaluate(pairs):
    encoder.eval()
    decoder.eval()
    with torch.no_grad():
        source, lengths, target = batch2train(pairs)
        predicted = decode(source, lengths, target, teacher_forcing=False).argmax(2)
    encoder.train()
    decoder.train()
    right = (predicted == target) | (target == PAD_token)
    return right.all(0).float().mean().item()


random.seed(0)
torch.manual_seed(0)
all_pairs = make_pairs(1300, torch.Generator().manual_seed(0))
random.shuffle(all_pairs)
train_pairs, test_pairs = all_pairs[:1200], all_pairs[1200:]

encoder = EncoderRNN(VOCAB, hidden_size)
decoder = LuongAttnDecoderRNN(hidden_size, VOCAB)
encoder_optimizer = optim.Adam(encoder.parameters(), lr=8e-3)
decoder_optimizer = optim.Adam(decoder.parameters(), lr=8e-3)
criterion = nn.CrossEntropyLoss(ignore_index=PAD_token)

print_loss = 0.0
n_iteration, print_every, batch_size = 90, 15, 32
for iteration in range(1, n_iteration + 1):
    loss = train(*batch2train(random.sample(train_pairs, batch_size)))
    print_loss += loss
    if iteration % print_every == 0:
        print(
            f"Iteration: {iteration}; Percent complete: {iteration / n_iteration * 100:.0f}%; "
            f"Average loss: {print_loss / print_every:.4f}; exact on test: {evaluate(test_pairs):.2f}"
        )
        print_loss = 0.0
