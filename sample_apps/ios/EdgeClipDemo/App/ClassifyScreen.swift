import EdgeClipCore
import EdgeClipKit
import PhotosUI
import SwiftUI

/// Labels of what the camera sees, or of a photo.
struct ClassifyScreen: View {
    var body: some View {
        NavigationStack {
            WithModel { model in
                ClassifyView(model: model)
            }
            .navigationTitle(BundleInfo.model)
            .navigationBarTitleDisplayMode(.inline)
        }
    }
}

@MainActor
private struct ClassifyView: View {
    let model: LoadedModel

    @State private var labels = Classifier.suggestions.joined(separator: ", ")
    @State private var classifier: Classifier?
    @State private var answer: Classifier.Answer?
    @State private var message: String?
    @State private var chosen: PhotosPickerItem?
    @State private var camera = Camera()

    var body: some View {
        VStack(spacing: 12) {
            CameraPreview(session: camera.session).clipShape(RoundedRectangle(cornerRadius: 12))
            if let message { Text(message).foregroundStyle(.secondary) }
            if let answer { AnswerView(answer: answer) }
            if model.labelBank == nil, model.text != nil {
                TextField("Labels, separated by commas", text: $labels).textFieldStyle(.roundedBorder)
            }
            PhotosPicker(chosen == nil ? "Choose a photo" : "Choose another photo", selection: $chosen, matching: .images)
            if chosen != nil { Button("Back to the camera") { chosen = nil } }
        }
        .padding()
        .task(id: labels) { await prepare() }
        .task(id: Job(photo: chosen, labels: classifier?.labels)) { await run() }
    }

    /// Another one of these starts the work anew, and ends what is going on.
    private struct Job: Equatable {
        let photo: PhotosPickerItem?
        let labels: [String]?
    }

    private func prepare() async {
        do {
            if let bank = model.labelBank {
                classifier = Classifier(model, bank: bank)
            } else if let text = model.text {
                try await Task.sleep(for: .milliseconds(400))  // until typing stops
                var seen = Set<String>()
                let names = labels.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
                    .filter { !$0.isEmpty && seen.insert($0).inserted }
                classifier = try await Classifier(model, labels: names, text: text)
            } else {
                message = "The bundle has neither a text tower nor a label bank."
            }
        } catch is CancellationError {
        } catch {
            (classifier, answer, message) = (nil, nil, error.localizedDescription)
        }
    }

    private func run() async {
        guard let classifier else { return }
        do {
            if let chosen {
                guard let file = try await chosen.loadTransferable(type: Data.self) else { return }
                await show(classifier) { try Picture(file: file) }
            } else {
                try await camera.prepare()
                for await frame in camera.frames() { await show(classifier) { try frame.picture() } }
            }
        } catch {
            if !Task.isCancelled { message = error.localizedDescription }
        }
    }

    /// Says what is in a picture, unless by then something else is to be shown.
    private func show(_ classifier: Classifier, _ read: @Sendable () throws -> Picture) async {
        do {
            let found = try await classifier.classify(read)
            if !Task.isCancelled { (answer, message) = (found, nil) }
        } catch {
            if !Task.isCancelled { (answer, message) = (nil, error.localizedDescription) }
        }
    }
}

private struct AnswerView: View {
    let answer: Classifier.Answer

    var body: some View {
        VStack(alignment: .leading) {
            ForEach(answer.labels, id: \.name) { label in
                HStack {
                    Text(label.name)
                    Spacer()
                    Text(label.score, format: .percent.precision(.fractionLength(1))).monospacedDigit()
                }
            }
            Text("\(answer.milliseconds, format: .number.precision(.fractionLength(1))) ms").font(.caption).foregroundStyle(.secondary)
        }
    }
}
